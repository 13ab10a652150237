from __future__ import annotations

import pytest

from stores.documents.patterns import Audiences, Patterns
from stores.settings import FolderSettings

DEFAULTS = FolderSettings.model_fields


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.md", ["a.md", "A.MD", "a b.md", ".md.md", "a\nb.md"], ["x/a.md", "a.mdx", "amd", "a.md/b"]),
        ("**/*.md", ["a.md", "x/a.md", "x/y/z/a.Md"], ["a.txt", "a.md/b.txt"]),
        ("docs/**", ["docs/a", "docs/x/y"], ["docs", "docsa", "x/docs/a"]),
        ("docs/**/a.md", ["docs/a.md", "docs/x/y/a.MD"], ["docs/b.md", "a.md"]),
        ("**/**/a", ["a", "x/a", "x/y/a"], ["ab", "a/b"]),
        ("?.txt", ["a.txt", "ü.txt"], ["ab.txt", "/.txt", ".txt"]),
        ("[a-c].md", ["a.md", "c.md"], ["d.md", "A.md", "[a-c].md"]),
        ("[!a-c].md", ["d.md", "!.md"], ["a.md", "/.md"]),
        ("[]x].md", ["].md", "x.md"], ["[.md"]),
        ("[z-a].md", ["[z-a].md"], ["z.md"]),
        ("[open.md", ["[open.md"], ["o.md"]),
        ("a+(b)|c.md", ["a+(b)|c.md"], ["aab.md", "c.md"]),
        ("x/[+-9].md", ["x/+.md", "x/5.md"], ["x//.md"]),
        ("./docs/*.tar.gz", ["docs/a.TAR.gz"], ["docs/a.gz"]),
        ("/top.md", ["top.md"], ["x/top.md"]),
        ("**", ["a", "x/y"], [""]),
        ("", [], ["", "a"]),
        ("README", ["README"], ["readme"]),
    ],
)
def test_a_pattern_matches_whole_paths(pattern: str, matching: list[str], others: list[str]) -> None:
    patterns = Patterns([pattern], [])
    assert [path for path in matching if not patterns.wants(path)] == []
    assert [path for path in others if patterns.wants(path)] == []


def test_the_default_patterns_take_documents_and_leave_what_is_hidden_or_installed() -> None:
    patterns = Patterns(DEFAULTS["include"].default, DEFAULTS["exclude"].default)
    paths = ["README.MD", "a/b/c.pdf", "a/.git/x.md", ".a.md", "x/.b/c/d.md", "n.md~", "node_modules/p/r.md", "p.png"]
    assert [path for path in paths if patterns.wants(path)] == ["README.MD", "a/b/c.pdf"]
    directories = ["a", ".git", "a/.git", "node_modules", "x/node_modules", "a/.git/b", "x/y~", "modules"]
    pruned = [directory for directory in directories if patterns.prunes(directory)]
    assert pruned == [".git", "a/.git", "node_modules", "x/node_modules", "a/.git/b", "x/y~"]


def test_a_file_below_an_excluded_directory_is_excluded_whatever_the_pattern_says_of_the_file() -> None:
    patterns = Patterns(["**/*.md"], ["drafts", "old/*"])
    assert [path for path in ("drafts/a.md", "drafts/x/a.md", "old/x/a.md", "a.md") if patterns.wants(path)] == ["a.md"]


def test_many_wildcards_do_not_take_forever() -> None:
    patterns = Patterns(["**/a/**/a/**/a/**/a/**/b*b*b*.md"], [])
    assert not patterns.wants("/".join(["a"] * 60) + "/" + "b" * 60)


def test_the_last_matching_pattern_decides_who_may_read() -> None:
    rules = {"hr/**": ("hr",), "**/public/**": ("public", "partners"), "hr/public/secret.md": ()}
    audiences = Audiences(("staff",), rules)
    assert audiences.of("a.md") == ("staff",)
    assert audiences.of("hr/a.md") == ("hr",)
    assert audiences.of("hr/public/a.md") == ("public", "partners")
    assert audiences.of("hr/public/secret.md") == ()
