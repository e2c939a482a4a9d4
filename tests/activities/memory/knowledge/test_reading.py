"""Documents of every format, whole and broken, become sections, chunks and words."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from activities.memory.knowledge.chunking import LONGEST, chunks
from activities.memory.knowledge.exceptions import DocumentError
from activities.memory.knowledge.languages import language_of
from activities.memory.knowledge.library import plain_name
from activities.memory.knowledge.reading import read_document
from activities.memory.knowledge.sections import LARGEST, SUFFIXES, Section
from activities.memory.knowledge.words import words

MARKDOWN = b"""---
title: From the front matter
---
Before any heading.

# PoolExhausted

## Meaning

All connections are in use.

```
# not a heading
kubectl get pods
```

### Why

Slow queries.

## Mitigation

- Restart one replica.
"""


def pdf(text: str, password: str | None = None) -> bytes:
    """A PDF of one page, written by hand: header, five objects, a table of their places, a trailer."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    content, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    begins = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    content += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, begins)
    if password is None:
        return content
    writer, locked = PdfWriter(io.BytesIO(content)), io.BytesIO()
    writer.encrypt(password)
    writer.write(locked)
    return locked.getvalue()


def test_markdown_keeps_its_headings() -> None:
    document = read_document("a/PoolExhausted.md", MARKDOWN)
    assert document.title == "PoolExhausted"
    assert [item.heading for item in document.sections] == [
        (),
        ("Meaning",),
        ("Meaning", "Why"),
        ("Mitigation",),
    ]
    assert "# not a heading" in document.sections[1].text


def test_html_is_read_without_what_is_not_text() -> None:
    page = (
        b"<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>Full disk</h1>"
        b"<p>Free <b>some</b> space.<script>alert('x')</script><!-- hidden --></p><h2>How</h2>"
        b"<ul><li>one<li>two</ul><pre>df -h\n  /var</pre></body>"
    )
    document = read_document("x.html", page)
    assert document.title == "Full disk"
    assert [(item.heading, item.text) for item in document.sections] == [
        ((), "Free some space."),
        (("How",), "one\ntwo\ndf -h\n  /var"),
    ]


def test_pages_of_a_pdf_are_its_sections() -> None:
    [section] = read_document("x.pdf", pdf("Restart the queue worker")).sections
    assert section == Section(heading=("page 1",), text="Restart the queue worker")


@pytest.mark.parametrize(
    ("location", "content", "said"),
    [
        ("x.exe", b"", "is no "),
        ("x.md", b"x" * (LARGEST + 1), "bytes, at most"),
        ("x.pdf", b"%PDF-1.4 broken", "is no readable PDF"),
        ("x.pdf", b"", "is no readable PDF"),
        ("x.pdf", pdf("secret", password="p"), "is encrypted"),
        ("x.pdf", pdf(""), "has no text"),
        ("x.txt", "é".encode() * 6_000_000, "characters of text"),
    ],
)
def test_what_cannot_be_read_is_told(location: str, content: bytes, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        read_document(location, content)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_recognised(encoding: str) -> None:
    [section] = read_document("x.txt", "Löschen Sie alte Dateien".encode(encoding)).sections
    assert section.text == "Löschen Sie alte Dateien"


@given(st.binary(max_size=400), st.sampled_from(SUFFIXES))
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    try:
        document = read_document(f"x{suffix}", content)
    except DocumentError:
        return
    for item in chunks(document.sections):
        assert 0 < len(item.text) <= LONGEST
        assert "\x00" not in item.text


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".md", b"[" * 200_000),
        (".md", b"*a " * 100_000),
        (".md", b">" * 50_000),
        (".md", b"- " * 20_000),
        (".md", b"# x\n" * 20_000),
        (".html", b"<div>" * 20_000),
        (".html", b"<h1>x" * 5_000),
        (".txt", b"a" * 1_000_000),
    ],
)
@pytest.mark.timeout(60)
def test_hostile_documents_take_no_longer_than_others(suffix: str, content: bytes) -> None:
    document = read_document(f"x{suffix}", content)
    assert all(len(item.text) <= LONGEST for item in chunks(document.sections))
    assert all(len(item.heading) <= 6 for item in document.sections)


@given(st.text(max_size=6_000))
def test_chunks_lose_no_word(text: str) -> None:
    pieces = chunks([Section(heading=("h",), text=text)])
    assert all(len(item.text) <= LONGEST for item in pieces)
    assert "".join("".join(item.text for item in pieces).split()) == "".join(text.split())


def test_names_are_kept_and_split() -> None:
    assert words("KubePodCrashLooping") == ["kubepodcrashlooping", "kube", "pod", "crash", "loop"]
    assert words("container_memory_rss") == ["container_memory_rss", "contain", "memori", "rss"]
    assert words("/etc/kubernetes/x.yaml")[0] == "etc/kubernetes/x.yaml"
    assert words("the pods of it") == ["pod"], "English function words say nothing"
    assert words("Verbindungen", "de") == words("Verbindung", "de")
    assert words("証明書の期限") == ["証明", "明書", "書の", "の期", "期限"]
    assert words("x" * 65) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The disk of the node is full, delete old files and restart the service.", "en"),
        ("Der Dienst antwortet nicht mehr, weil die Festplatte voll ist. Löschen Sie alte Dateien.", "de"),
        ("Le service ne répond plus car le disque est plein. Supprimez les anciens fichiers.", "fr"),
        ("El servicio no responde porque el disco está lleno. Borre los archivos antiguos.", "es"),
        ("ディスクがいっぱいでサービスが応答しません。古いファイルを削除してください。", "ja"),
        ("x", "en"),
        ("", "en"),
    ],
)
def test_languages_are_recognised(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("given_as", "name"),
    [
        ("/srv/runbooks/KubePodCrashLooping.md", "kubepodcrashlooping"),
        ("https://runbooks.example/runbooks/kubernetes/kubepodcrashlooping/", "kubepodcrashlooping"),
        ("https://example/runbook.md#alert-name-kubepodcrashlooping", "kubepodcrashlooping"),
        ("KubePodCrashLooping", "kubepodcrashlooping"),
    ],
)
def test_alerts_and_addresses_name_the_same_runbook(given_as: str, name: str) -> None:
    assert plain_name(given_as) == name
