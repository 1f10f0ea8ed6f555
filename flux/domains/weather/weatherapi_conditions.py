"""WeatherAPI.com's condition codes as WMO 4677 codes, as near as there is one in Open-Meteo's part of them.

Source: the list of conditions in its documentation. What it calls patchy or possible is a shower here; sleet,
which in its (British) words is rain with snow, counts as snow; thunder as a thunderstorm, whatever falls.
"""

WMO_CODES: dict[int, int] = {
    1000: 0,  # sunny, clear
    1003: 2,  # partly cloudy
    1006: 3,  # cloudy
    1009: 3,  # overcast
    1030: 45,  # mist
    1063: 80,  # patchy rain possible
    1066: 85,  # patchy snow possible
    1069: 85,  # patchy sleet possible
    1072: 56,  # patchy freezing drizzle possible
    1087: 95,  # thundery outbreaks possible
    1114: 73,  # blowing snow
    1117: 75,  # blizzard
    1135: 45,  # fog
    1147: 48,  # freezing fog
    1150: 51,  # patchy light drizzle
    1153: 51,  # light drizzle
    1168: 56,  # freezing drizzle
    1171: 57,  # heavy freezing drizzle
    1180: 80,  # patchy light rain
    1183: 61,  # light rain
    1186: 63,  # moderate rain at times
    1189: 63,  # moderate rain
    1192: 65,  # heavy rain at times
    1195: 65,  # heavy rain
    1198: 66,  # light freezing rain
    1201: 67,  # moderate or heavy freezing rain
    1204: 71,  # light sleet
    1207: 73,  # moderate or heavy sleet
    1210: 85,  # patchy light snow
    1213: 71,  # light snow
    1216: 73,  # patchy moderate snow
    1219: 73,  # moderate snow
    1222: 75,  # patchy heavy snow
    1225: 75,  # heavy snow
    1237: 77,  # ice pellets
    1240: 80,  # light rain shower
    1243: 81,  # moderate or heavy rain shower
    1246: 82,  # torrential rain shower
    1249: 85,  # light sleet showers
    1252: 86,  # moderate or heavy sleet showers
    1255: 85,  # light snow showers
    1258: 86,  # moderate or heavy snow showers
    1261: 85,  # light showers of ice pellets
    1264: 86,  # moderate or heavy showers of ice pellets
    1273: 95,  # patchy light rain with thunder
    1276: 95,  # moderate or heavy rain with thunder
    1279: 95,  # patchy light snow with thunder
    1282: 95,  # moderate or heavy snow with thunder
}
