"""What the door serves for the page: which files, with which headers, and what when there are none."""

import zipfile
from pathlib import Path

import pytest

from flux.web import BUILD_COMMAND, IMMUTABLE, REVALIDATE, load_page


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A small build, as Vite lays one out."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-DHR1yyVg.js").write_text("1")
    (tmp_path / "assets" / "index-DHR1yyVg.js.map").write_text("{}")
    return tmp_path


def test_files_stand_under_their_exact_paths(built: Path) -> None:
    """The index is the page itself; what has no known type is not served."""
    assert sorted(load_page(built)) == ["/", "/assets/index-DHR1yyVg.js", "/icon.svg"]


def test_no_path_leads_out_of_the_build(built: Path) -> None:
    """Paths are looked up, never resolved, so none reaches another file."""
    page = load_page(built / "assets")
    for path in ("/../index.html", "/assets/../index.html", "//index.html", "/%2e%2e/index.html", "/."):
        assert path not in page


def test_hashed_names_are_cached_for_good_and_others_asked_for_again(built: Path) -> None:
    """A name with a content hash never changes its content; the page does."""
    page = load_page(built)
    assert page["/assets/index-DHR1yyVg.js"].headers["cache-control"] == IMMUTABLE
    assert page["/"].headers["cache-control"] == REVALIDATE
    assert page["/icon.svg"].headers["cache-control"] == REVALIDATE


def test_the_etag_follows_the_content(built: Path) -> None:
    """The same bytes give the same tag, other bytes another."""
    first = load_page(built)["/"].headers["etag"]
    assert load_page(built)["/"].headers["etag"] == first
    (built / "index.html").write_text("<!doctype html><p>")
    assert load_page(built)["/"].headers["etag"] != first


def test_types_do_not_depend_on_the_machine(built: Path) -> None:
    """Scripts must be served as scripts, or browsers that were told not to guess refuse them."""
    page = load_page(built)
    assert page["/assets/index-DHR1yyVg.js"].content_type == "text/javascript; charset=utf-8"
    assert page["/icon.svg"].content_type == "image/svg+xml"
    assert all(file.headers["x-content-type-options"] == "nosniff" for file in page.values())


def test_the_page_is_confined_to_its_own_origin(built: Path) -> None:
    """The policy lets in no foreign script and no frame around."""
    policy = load_page(built)["/"].headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_without_a_build_the_page_says_what_to_run(tmp_path: Path) -> None:
    """A missing build is a clear 503 that is not cached, not a crash and not a bare 404."""
    page = load_page(tmp_path / "dist")
    assert list(page) == ["/"]
    assert page["/"].status == 503
    assert BUILD_COMMAND in page["/"].body.decode()
    assert page["/"].headers["cache-control"] == "no-store"


def test_the_page_is_read_from_a_zip_too(built: Path, tmp_path: Path) -> None:
    """A package that is imported from a zip file serves the same page."""
    archive = tmp_path / "page.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("index.html", "icon.svg", "assets/index-DHR1yyVg.js"):
            file.write(built / name, f"dist/{name}")
    with zipfile.ZipFile(archive) as file:
        assert load_page(zipfile.Path(file, "dist/")) == load_page(built)
