"""Files as disks, networks and editors leave them."""

from __future__ import annotations

from hypothesis import strategies as st


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
