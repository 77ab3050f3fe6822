"""A server of a folder on this machine, in the place of a data set's official one."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serving(folder):
    """Its address, and a list of the files it was asked for.

    It breaks off in the middle of a file whose name is in the list ``broken`` of the list.
    """
    asked = Asked()
    handler = partial(_Handler, asked, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", asked
        running.shutdown()


class Asked(list):
    """Names of files, in order; and of those that break off."""

    def __init__(self):
        super().__init__()
        self.broken = set()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, asked, *args, **kwargs):
        self.asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.asked.append(self.path[1:])
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        half = len(content) // 2 if self.path[1:] in self.asked.broken else len(content)
        outputfile.write(content[:half])
