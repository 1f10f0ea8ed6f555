"""What news sources answer, rebuilt by hand with the field names that they document."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from fake_site import Reply, answer  # from tests/sources

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet title="XSL_formatting" type="text/xsl" href="/shared/nolsol.xsl"?>
<rss xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/"
     xmlns:atom="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/" version="2.0">
  <channel>
    <title><![CDATA[Harbour News]]></title>
    <description>World</description>
    <link>https://news.example.org/world</link>
    <lastBuildDate>Sat, 31 Jan 2026 10:20:00 GMT</lastBuildDate>
    <ttl>15</ttl>
    <item>
      <title><![CDATA[Ferry & lighthouse reopen]]></title>
      <description><![CDATA[<p>The <b>ferry</b> sails again.</p><script>alert(1)</script>
        <p>So does the light.</p>]]></description>
      <link>https://news.example.org/articles/ferry?at_medium=RSS&amp;at_campaign=rss</link>
      <guid isPermaLink="false">https://news.example.org/articles/ferry#0</guid>
      <pubDate>Sat, 31 Jan 2026 10:15:00 GMT</pubDate>
      <dc:creator>A. Writer (writer@example.org)</dc:creator>
      <category>Transport</category>
      <category>transport</category>
      <media:thumbnail width="240" height="135" url="https://pictures.example.org/ferry.jpg"/>
    </item>
    <item>
      <title>Tide tables: who needs &amp;lt;b&amp;gt; today?</title>
      <description>Plain.</description>
      <link>javascript:alert(1)</link>
      <guid isPermaLink="false">tide-7</guid>
      <pubDate>Sat, 31 Jan 2026 14:00:00 +0100</pubDate>
      <enclosure url="https://pictures.example.org/tide.png" type="image/png" length="1"/>
    </item>
  </channel>
</rss>"""

RDF = """<?xml version="1.0" encoding="utf-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
         xmlns:dc="http://purl.org/dc/elements/1.1/">
  <channel rdf:about="https://wave.example.org/"><title>Wave</title><link>https://wave.example.org/</link>
    <description>World</description></channel>
  <item rdf:about="https://wave.example.org/a-1">
    <title>A bridge for the valley</title>
    <link>https://wave.example.org/a-1</link>
    <description>It opens in spring.</description>
    <dc:date>2026-01-31T09:30:00Z</dc:date>
    <dc:subject>Regions</dc:subject>
  </item>
</rdf:RDF>"""

ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title>Observatory</title><id>urn:observatory</id><updated>2026-01-31T11:00:00Z</updated>
  <entry>
    <title type="html">A comet &amp;amp; its tail</title>
    <link rel="alternate" href="https://sky.example.org/comet"/>
    <id>urn:observatory:comet</id>
    <published>2026-01-31T10:45:00+00:00</published>
    <updated>2026-01-31T11:00:00Z</updated>
    <category term="sky" label="The Sky"/>
    <summary type="html">&lt;p&gt;Seen at &lt;em&gt;dawn&lt;/em&gt;.&lt;/p&gt;</summary>
  </entry>
</feed>"""


def rss(name: str, items: Sequence[tuple[str, str, str]]) -> str:
    """Return an RSS feed.

    Args:
        name: the channel's title.
        items: title, link, RFC 822 date.
    """
    body = "".join(
        f"<item><title>{escape(title)}</title><link>{escape(link)}</link><pubDate>{date}</pubDate></item>"
        for title, link, date in items
    )
    return f'<rss version="2.0"><channel><title>{escape(name)}</title>{body}</channel></rss>'


def feed(text: str | bytes, media: str = "application/rss+xml; charset=utf-8") -> Reply:
    """Return an answer with a feed."""
    return answer(text, media)


def gdelt_article(**fields: Any) -> dict[str, Any]:
    """Return an article as GDELT lists it."""
    return {
        "url": "https://paper.example.com/2026/01/rivers",
        "url_mobile": "",
        "title": "The river ' s banks , and who owns them",
        "seendate": "20260131T101500Z",
        "socialimage": "https://paper.example.com/rivers.jpg",
        "domain": "paper.example.com",
        "language": "English",
        "sourcecountry": "United Kingdom",
        **fields,
    }


def newsdata_article(**fields: Any) -> dict[str, Any]:
    """Return an article as newsdata.io lists it."""
    return {
        "article_id": "4f1a0c",
        "title": "Orchards return to the coast",
        "link": "https://daily.example.net/orchards",
        "keywords": None,
        "creator": ["A. Writer"],
        "description": "Apples first, then plums.",
        "content": "ONLY AVAILABLE IN PAID PLANS",
        "pubDate": "2026-01-31 10:15:00",
        "pubDateTZ": "UTC",
        "image_url": "https://daily.example.net/orchards.jpg",
        "video_url": None,
        "source_id": "daily",
        "source_name": "The Daily",
        "source_priority": 1204,
        "source_url": "https://daily.example.net",
        "language": "english",
        "country": ["united kingdom"],
        "category": ["environment", "food"],
        "duplicate": False,
        **fields,
    }


def newsdata_answer(*articles: dict[str, Any]) -> dict[str, Any]:
    """Return newsdata.io's answer with these articles."""
    return {
        "status": "success",
        "totalResults": len(articles),
        "results": list(articles),
        "nextPage": "1769854",
    }
