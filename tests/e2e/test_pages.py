"""The pages: served with their headers, complete, and needing nothing from anywhere else."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server import DEMO, ROOT, Http, Server

WEB = ROOT / "web"
FILES = sorted(path.name for path in WEB.iterdir())
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data", "use": "href"}


class Elements(HTMLParser):
    """Start tags with their attributes, and the text inside script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inline, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside and data.strip():
            self.inline.append(data.strip())


def page(http, path):
    response = http.get(path, headers=BROWSER)
    assert response.status_code == 200, path
    assert response.headers["content-type"] == TYPES[".html"]
    return response


def references(text):
    return [(tag, attributes[LOADING[tag]]) for tag, attributes in Elements(text).tags if tag in LOADING and attributes.get(LOADING[tag])]


def imports(text):
    return re.findall(r"""(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*["']([^"']+)["']|import\s*\(?\s*["']([^"']+)["']""", text)


@pytest.mark.parametrize("name", FILES)
def test_file_is_served_as_it_is(http, name):
    response = http.get(f"/{name}")
    assert response.status_code == 200
    assert response.content == (WEB / name).read_bytes(), "the program holds another version: build it again"
    assert response.headers["content-type"] == TYPES[Path(name).suffix]
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = {part.split()[0]: part.split()[1:] for part in response.headers["content-security-policy"].split(";")}
    assert policy["default-src"] == ["'self'"] and policy["frame-ancestors"] == ["'none'"] and policy["base-uri"] == ["'none'"]
    assert not any("unsafe" in source for sources in policy.values() for source in sources)


@pytest.mark.parametrize(("path", "name"), [("/", "index.html"), ("/docs", "docs.html"), ("/docs/", "docs.html")])
def test_short_paths(http, path, name):
    assert page(http, path).content == (WEB / name).read_bytes()
    assert http.request("HEAD", path, headers=BROWSER).content == b""


def test_programs_get_facts_at_the_root(http):
    assert http.get("/", headers={"accept": "*/*"}).json()["model_id"] == "ner-ja"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_what_a_page_loads_is_here(http, path):
    found = references(page(http, path).text)
    assert {tag for tag, _ in found} >= {"script", "link"}
    for tag, reference in found:
        assert re.fullmatch(r"/[A-Za-z0-9_.-]+", reference), f"<{tag}> loads {reference!r}"
        assert http.get(reference).status_code == 200, reference


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_policy_lets_the_page_work(http, path):
    elements = Elements(page(http, path).text)
    assert elements.inline == [], "inline scripts and styles are refused by the policy"
    for tag, attributes in elements.tags:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes), f"<{tag}> {attributes}"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith((".js", ".css", ".svg"))])
def test_no_outside_address(name):
    text = (WEB / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace("http://localhost:8000", "")
    for forbidden in ("http://", "https://", "data:image", "data:font", "@import", " url(", ":url("):
        assert forbidden not in text, forbidden
    assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text, "text must stay text"


def test_html_has_no_outside_address():
    for name in ("index.html", "docs.html"):
        for tag, attributes in Elements((WEB / name).read_text(encoding="utf-8")).tags:
            for value in attributes.values():
                assert value is None or not re.match(r"\s*(?:[a-z]+:|//)", value, re.IGNORECASE), f"{name}: <{tag}> {value!r}"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_modules_import_what_exists(http, name):
    for pair in imports((WEB / name).read_text(encoding="utf-8")):
        target = next(filter(None, pair))
        assert target.startswith("./") and http.get(target[1:]).status_code == 200, f"{name} imports {target!r}"


def test_imports_are_found():
    """The check above would pass on anything if its pattern saw no import."""
    assert any(imports((WEB / name).read_text(encoding="utf-8")) for name in FILES if name == "app.js")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_scripts_parse(tmp_path, name):
    copy = tmp_path / (Path(name).stem + ".mjs")
    copy.write_bytes((WEB / name).read_bytes())
    done = subprocess.run(["node", "--check", str(copy)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_both_languages_have_every_word():
    text = (WEB / "i18n.js").read_text(encoding="utf-8")
    japanese, english = re.search(r"\n  ja: \{(.*?)\n  \},\n  en: \{(.*?)\n  \},\n", text, re.DOTALL).groups()
    keys = [set(re.findall(r"""(?:^|[,{\s])"?([A-Za-z][\w-]*)"?: \"""", part)) for part in (japanese, english)]
    assert keys[0] == keys[1] and len(keys[0]) > 100
    asked = set(re.findall(r'data-t(?:-label|itle)?="(\w+)"', (WEB / "index.html").read_text(encoding="utf-8") + (WEB / "docs.html").read_text(encoding="utf-8")))
    for script in WEB.glob("*.js"):
        asked |= set(re.findall(r"""\bt\("([\w-]+)"\)""", script.read_text(encoding="utf-8")))
    assert asked <= keys[0], asked - keys[0]


@pytest.mark.parametrize("name", ["index.html", "docs.html"])
def test_controls_have_names(name):
    elements = Elements((WEB / name).read_text(encoding="utf-8")).tags
    assert elements[0] == ("html", {"lang": "en"})
    for tag, attributes in elements:
        if tag == "select":
            assert attributes.get("aria-label"), attributes
        if tag == "img":
            assert "alt" in attributes


def test_documented_routes_exist(http):
    """Every route of the API page answers something other than 404 and 405."""
    text = (WEB / "docs.html").read_text(encoding="utf-8")
    routes = set(re.findall(r'<span class="verb">(\w+)</span><code>([^<]+)</code>', text))
    assert len(routes) >= 15
    for method, path in routes:
        status = http.request(method, path.replace("{id}", "style-ja-t5"), data="{}" if method == "POST" else None).status_code
        assert status not in (404, 405) and status < 500, f"{method} {path}: {status}"


def test_pages_are_open_but_data_is_not():
    with Server(DEMO / "ner-ja", "--api-key", "the-key") as guarded:
        http = Http(guarded.url)
        for path in ("/", "/docs", *[f"/{name}" for name in FILES]):
            assert http.get(path, headers=BROWSER).status_code == 200, path
        assert http.get("/", headers={"accept": "*/*"}).status_code == 401
        assert http.get("/info").status_code == 401
        assert http.get("/info", headers={"authorization": "Bearer the-key"}).status_code == 200


def test_no_ui():
    with Server(DEMO / "ner-ja", "--no-ui") as bare:
        http = Http(bare.url)
        assert http.get("/", headers=BROWSER).json()["model_id"] == "ner-ja"
        for path in ("/docs", "/index.html", "/app.js"):
            assert http.get(path, headers=BROWSER).status_code == 404, path
