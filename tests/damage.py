"""Files as disks, networks and editors leave them."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tf_simclr.errors import UsageError


class Outcomes:
    """How many damaged files were read, and the lines that refused others; no other error is borne."""

    def __init__(self) -> None:
        self.read, self.lines = 0, list[str]()

    def add(self, read: Callable[[], object]) -> None:
        try:
            read()
            self.read += 1
        except UsageError as error:
            self.lines.append(str(error))

    def require(self, cases: int, of_each: int, *, named: Callable[[str], bool]) -> None:
        """So many cases, so many of either outcome, and a refusal is one line that names the file."""
        assert not [line for line in self.lines if len(line.splitlines()) != 1]
        assert all(map(named, self.lines))
        assert self.read + len(self.lines) >= cases
        assert min(self.read, len(self.lines)) >= of_each, (self.read, len(self.lines))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` cut, with bytes changed, lost, doubled or zeroed, once or several times."""
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 64)))
        kind = draw(st.sampled_from(["cut", "lost", "zeroed", "doubled", "other", "flipped"]))
        middle = {
            "lost": b"",
            "zeroed": bytes(end - begin),
            "doubled": 2 * content[begin:end],
            "other": draw(st.binary(max_size=64)),
            "flipped": bytes(byte ^ (1 << begin % 8) for byte in content[begin : begin + 1]),
        }
        if kind == "flipped":
            end = min(begin + 1, len(content))
        content = content[:begin] if kind == "cut" else content[:begin] + middle[kind] + content[end:]
    return content
