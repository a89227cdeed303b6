import base64
import re
from html.parser import HTMLParser

import pytest

from rehearse.core.registry import figure_names
from rehearse.report.html import render_report, write_report
from rehearse.report.load import load_runs
from rehearse.report.tables import TABLES

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.words = []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def download(self, name):
        [link] = [link for link in self.named("a") if link.get("download") == name]
        return base64.b64decode(link["href"].partition("base64,")[2])


@pytest.fixture(scope="module")
def runs(variant):
    made = variant("quick")
    return load_runs(made.campaign, made.results)


@pytest.fixture(scope="module")
def html(runs):
    return render_report(runs)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_figure_is_inside_with_caption_and_alternative_text(page):
    images = page.named("img")
    assert len(images) == len(figure_names())
    for image in images:
        assert len(image["alt"]) > 40
        assert base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,")).startswith(b"<?xml")
    assert {figure["id"] for figure in page.named("figure")} == {f"figure-{name}" for name in figure_names()}
    assert page.text.count("mean over 3 seeds") == len(figure_names())


def test_outcome_comes_first(page):
    assert page.named("figure")[0]["id"] == "figure-accuracy_per_task"


def test_the_campaigns_own_order_of_figures_is_kept(fabricated):
    made = fabricated(strategies=("er",), figures=["scaling", "forgetting"])
    page = Page(render_report(load_runs(made.campaign, made.results)))
    assert [figure["id"] for figure in page.named("figure")] == ["figure-scaling", "figure-forgetting"]


def test_nothing_is_loaded_from_outside(html, page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(meta["content"] for meta in page.named("meta") if "http-equiv" in meta)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_internal_links_lead_somewhere(page):
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.named("a") if link["href"].startswith("#")} <= anchors


def test_summary_numbers(page, runs):
    finals = [100 * run.summary.metrics_top1.faa for run in runs.finished[:3]]
    assert f"{sum(finals) / 3:.1f} ± " in page.text
    assert "−9" in page.text  # backward transfer with a typographic minus


def test_tables_and_provenance_can_be_downloaded(page):
    for name in TABLES:
        assert page.download(f"{name}.csv").startswith(b"dataset,")
    for name in figure_names():
        assert page.download(f"figure_{name}.csv").startswith(b"dataset,")
        assert page.download(f"figure_{name}.pdf").startswith(b"%PDF")
    assert page.download("provenance.json").startswith(b'{\n  "paper/digits/incremental/n1r1/seed-1"')


def test_provenance_is_said_once_where_it_is_common(page, runs):
    assert page.text.count("versions.torch") == 1
    assert page.text.count("started_at") == len(runs.finished)
    assert len(page.named("details")) == len(runs.finished) + 1


def test_text_of_users_is_escaped(html, page):
    assert "<at>" not in html
    assert "Rehearsal remembers <at> a fraction of the cost." in page.text
    assert "node<1>" in page.text


def test_equal_runs_give_equal_reports(fabricated):
    made = fabricated(strategies=("er",), figures=["scaling"])
    runs = load_runs(made.campaign, made.results)
    assert render_report(runs) == render_report(runs)


def test_a_partial_report_says_what_is_missing(fabricated, tmp_path):
    made = fabricated(strategies=("er",), seeds=(1, 2), figures=["scaling"])
    made.files(made.campaign.cells()[0]).summary.unlink()
    write_report(load_runs(made.campaign, made.results, partial=True), tmp_path / "new" / "report.html")
    page = Page((tmp_path / "new" / "report.html").read_text(encoding="utf-8"))
    assert "Partial result: 1 of 2 cells." in page.text
    assert "Missing cells" in page.text
    assert "paper/digits/er/n1r1/seed-1" in page.text
    assert "the run has not finished" in page.text


def test_undefined_numbers_and_single_seeds(fabricated):
    made = fabricated(num_tasks=1, figures=["scaling"])
    page = Page(render_report(load_runs(made.campaign, made.results)))
    table = page.text.partition("Mean ± half-width")[0]
    assert "±" not in table
    assert " – " in table


def luminance(color):
    """Relative luminance of WCAG 2.1."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_has_contrast_in_both_schemes(html):
    schemes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for front in ("text", "quiet", "accent"):
            for back in ("page", "card", "warn"):
                bright, dark = sorted((luminance(scheme[front]), luminance(scheme[back])), reverse=True)
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, f"{front} on {back}"
