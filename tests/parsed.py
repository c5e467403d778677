"""A page as a reader of HTML sees it; tags that are not closed in order are an error."""

from html.parser import HTMLParser

_VOID = {"meta", "link", "img", "br"}


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.found, self.words, self.rows = [], [], [], []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"{tag} is closed, but was not the last one opened"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def tags(self):
        return [tag for tag, _ in self.found]

    @property
    def text(self):
        return "".join(self.words)

    def all(self, tag):
        """The attributes of all of these."""
        return [attributes for name, attributes in self.found if name == tag]


def parse(text):
    page = _Page()
    page.feed(text)
    page.close()
    assert not page.open, f"never closed: {page.open}"
    return page
