"""Serves one of the applications beside this file on a free port, which it prints: `python serve.py flask_app`."""

import os
import sys
from importlib import import_module
from pathlib import Path
from socket import create_server

import uvicorn
from werkzeug.serving import make_server

name = sys.argv[1]
# The folder of a script comes first on the path of modules; the applications are named so that they hide no package.
sys.path.insert(0, os.fspath(Path(__file__).parent))
application = import_module(name).application

with create_server(("127.0.0.1", 0)) as listener:
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    if name.endswith(("asgi_app", "fastapi_app")):
        uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])
    else:
        make_server("127.0.0.1", 0, application, threaded=True, fd=listener.fileno()).serve_forever()
