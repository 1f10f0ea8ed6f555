/** The place that the viewer chose, and a few known ones with their position. */

export interface Place {
  city: string;
  region?: string;
  country?: string;
  lat?: string;
  lon?: string;
}

export const PLACES: Place[] = [
  { city: "Delhi", region: "Delhi", country: "IN", lat: "28.61", lon: "77.20" },
  { city: "Berlin", region: "Berlin", country: "DE", lat: "52.52", lon: "13.41" },
  { city: "Cairo", region: "Cairo", country: "EG", lat: "30.04", lon: "31.24" },
  { city: "London", region: "England", country: "GB", lat: "51.51", lon: "-0.13" },
  { city: "Mumbai", region: "Maharashtra", country: "IN", lat: "19.08", lon: "72.88" },
  { city: "Nairobi", region: "Nairobi", country: "KE", lat: "-1.29", lon: "36.82" },
  { city: "New York", region: "New York", country: "US", lat: "40.71", lon: "-74.01" },
  { city: "Paris", region: "Île-de-France", country: "FR", lat: "48.86", lon: "2.35" },
  { city: "San Francisco", region: "California", country: "US", lat: "37.77", lon: "-122.42" },
  { city: "São Paulo", region: "São Paulo", country: "BR", lat: "-23.55", lon: "-46.63" },
  { city: "Singapore", country: "SG", lat: "1.35", lon: "103.82" },
  { city: "Sydney", region: "New South Wales", country: "AU", lat: "-33.87", lon: "151.21" },
  { city: "Tokyo", region: "Tokyo", country: "JP", lat: "35.68", lon: "139.69" },
];

export const DEFAULT: Place = PLACES[0] as Place;

/**
 * Return what is sent for a city that was typed: a known one with its position, any other by name alone
 * (the weather provider then looks it up); null for an empty name.
 */
export function place(typed: string): Place | null {
  const city = typed.normalize("NFC").replace(/\s+/g, " ").trim();
  if (!city) return null;
  return PLACES.find((known) => fold(known.city) === fold(city)) ?? { city };
}

/** `sao paulo` finds São Paulo. */
function fold(name: string): string {
  return name.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
