#!/usr/bin/env python3
"""Draws how a descriptor gets from a server to a worker, as SVG on standard output.

`make picture` puts it into docs/passing.svg.
"""

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 520, 324

STYLE = Path(__file__).with_name("pictures.css").read_text(encoding="utf-8")


def tag(name, content=None, **attributes):
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{named}/>" if content is None else f"<{name}{named}>{content}</{name}>"


def text(x, y, words, kinds=""):
    return tag("text", escape(words), x=x, y=y, class_=kinds)


def box(x, y, width, height, kinds=""):
    kinds = kinds if kinds == "kernel" else f"box {kinds}".strip()
    return tag("rect", x=x, y=y, width=width, height=height, rx=5, class_=kinds)


def arrow(way, kinds, tip):
    return tag("path", d=way, class_=f"line {kinds}", marker_end=f"url(#{tip})")


def tip(name, kinds=""):
    shape = tag("path", d="M0,0 L8,4 L0,8 z", class_=f"tip {kinds}")
    return tag("marker", shape, id=name, viewBox="0 0 8 8", refX=7, refY=4, markerWidth=8,
               markerHeight=8, orient="auto-start-reverse", markerUnits="userSpaceOnUse")


def process(x, name, what, numbers, chosen):
    """A process with its table of descriptors."""
    yield box(x, 40, 170, 124)
    yield text(x + 12, 63, name, "name")
    yield text(x + 12, 83, what, "small")
    yield text(x + 12, 111, "descriptors", "small")
    for place, number in enumerate(numbers):
        at = x + 12 + 30 * place
        yield box(at, 120, 27, 32, "chosen blue" * (number == chosen))
        yield text(at + 13.5, 141, str(number), "code middle" + " blue" * (number == chosen))


def picture():
    yield tag("style", STYLE)
    yield tag("defs", tip("tip", "quiet") + tip("way", "blue"))
    yield tag("rect", width=WIDTH, height=HEIGHT, class_="ground")

    yield text(10, 26, "ancillary_send_fd(link, 4);", "code")
    yield text(WIDTH - 10, 26, "fd = ancillary_recv_fd(link);", "code end")
    yield from process(10, "server", "accepted the client", (0, 1, 2, 3, 4), 4)
    yield from process(340, "worker", "never accepted it", (0, 1, 2, 3), 3)

    # From one to the other, over the Unix socket.
    yield text(260, 63, "Unix socket", "small middle")
    yield arrow("M184,78 L336,78", "blue", "way")
    yield text(260, 102, "fd is 3 there:", "small middle")
    yield text(260, 120, "another number for", "small middle")
    yield text(260, 138, "the same connection", "small middle")

    # What both descriptors stand for.
    yield box(10, 216, 500, 98, "kernel")
    yield text(22, 239, "kernel", "name")
    yield box(160, 228, 200, 52)
    yield text(260, 250, "open connection", "middle")
    yield text(260, 269, "its flags, buffers, peer", "small middle")
    yield arrow("M155.5,154 C155.5,180 205,190 210,224", "quiet thin", "tip")
    yield arrow("M455.5,154 C455.5,188 315,186 310,224", "blue dashes", "way")
    yield text(22, 302, "The server may close 4 at once.", "small")
    yield text(WIDTH - 22, 302, "The client notices nothing.", "small end")


def main():
    content = "\n".join(picture())
    label = ("The server has the connection as descriptor 4 and sends it over a Unix socket. "
             "The worker receives descriptor 3, for the same open connection in the kernel.")
    print(tag("svg", f"\n<title>{escape(label)}</title>\n{content}\n",
              xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}",
              width=WIDTH, height=HEIGHT, role="img"))


if __name__ == "__main__":
    main()
