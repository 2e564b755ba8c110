#!/usr/bin/env python3
"""Draws how a descriptor gets from a server to a worker, as SVG on standard output.

`make picture` puts it into docs/passing.svg.
"""

from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 330

LIGHT = {"text": "#1f2328", "line": "#59636e", "fill": "#f6f8fa", "kernel": "#e2e6eb",
         "mark": "#0a5dc2"}
DARK = {"text": "#e6edf3", "line": "#9198a1", "fill": "#151b23", "kernel": "#262c36",
        "mark": "#6cb2ff"}

SHAPES = """
text { font: 14px sans-serif; }
.code { font-family: monospace; font-size: 13px; }
.name { font-weight: bold; }
.small { font-size: 12px; }
.middle { text-anchor: middle; }
path { fill: none; stroke-width: 1.5; marker-end: url(#tip); }
.chosen { stroke-width: 2; }
.way { stroke-width: 2; marker-end: url(#marked-tip); }
.dashed { stroke-dasharray: 5 4; }
marker path { stroke: none; marker-end: none; }
"""

# Without variables, which not all that shows pictures knows.
COLOURS = """
text {{ fill: {text}; }}
.mark {{ fill: {mark}; }}
rect {{ fill: {fill}; stroke: {line}; }}
.kernel {{ fill: {kernel}; }}
.chosen, .way {{ stroke: {mark}; }}
path {{ stroke: {line}; }}
marker path {{ stroke: none; fill: {line}; }}
#marked-tip path {{ fill: {mark}; }}
"""

STYLE = (SHAPES + COLOURS.format(**LIGHT)
         + "@media (prefers-color-scheme: dark) {" + COLOURS.format(**DARK) + "}\n")


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
    return tag("rect", x=x, y=y, width=width, height=height, rx=5, class_=kinds)


def arrow(way, kinds=""):
    return tag("path", d=way, class_=kinds)


def tip(name):
    shape = tag("path", d="M0,0 L8,4 L0,8 z")
    return tag("marker", shape, id=name, viewBox="0 0 8 8", refX=7, refY=4, markerWidth=8,
               markerHeight=8, orient="auto-start-reverse", markerUnits="userSpaceOnUse")


def process(x, name, what, numbers, chosen):
    """A process with its table of descriptors."""
    yield box(x, 20, 210, 130)
    yield text(x + 14, 44, name, "name")
    yield text(x + 14, 64, what, "small")
    yield text(x + 14, 92, "descriptors", "small")
    for place, number in enumerate(numbers):
        at = x + 14 + 36 * place
        yield box(at, 102, 32, 32, "chosen" if number == chosen else "")
        yield text(at + 16, 123, str(number), "code middle" + " mark" * (number == chosen))


def picture():
    yield tag("style", STYLE)
    yield tag("defs", tip("tip") + tip("marked-tip"))

    yield from process(20, "server", "accepted the connection", (0, 1, 2, 3, 4), 4)
    yield from process(530, "worker", "never accepted anything", (0, 1, 2, 3), 3)

    # From one to the other, over the Unix socket.
    yield text(380, 44, "Unix socket", "middle small")
    yield arrow("M234,58 H526", "way")
    yield text(380, 82, "ancillary_send_fd(link, 4);", "code middle")
    yield text(380, 104, "fd = ancillary_recv_fd(link);", "code middle")
    yield text(380, 126, "fd is 3: another number", "middle small")
    yield text(380, 142, "for the same connection", "middle small")

    # What both descriptors stand for.
    yield box(20, 210, 720, 100, "kernel")
    yield text(34, 232, "kernel", "name")
    yield box(285, 230, 190, 60)
    yield text(380, 256, "open connection", "middle")
    yield text(380, 276, "its flags, its buffers, its peer", "middle small")
    yield arrow("M194,136 C194,190 240,250 281,256")
    yield arrow("M658,136 C658,190 560,250 479,256", "way dashed")
    yield text(34, 290, "The server may close 4 at once.", "small")
    yield text(500, 290, "The client notices nothing.", "small")


def main():
    content = "\n".join(picture())
    label = ("The server has the connection as descriptor 4 and sends it over a Unix socket. "
             "The worker receives descriptor 3, for the same open connection in the kernel.")
    print(tag("svg", f"\n<title>{escape(label)}</title>\n{content}\n",
              xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}",
              width=WIDTH, height=HEIGHT, role="img"))


if __name__ == "__main__":
    main()
