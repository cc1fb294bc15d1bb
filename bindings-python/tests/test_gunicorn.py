"""Real gunicorn: the model is loaded once, before the workers are forked, and each of them serves it."""

import concurrent.futures
import os

import httpx
import pytest
from serving import clip_folder, serving

APP = """
import os
from ayni import Embedder
from ayni.fastapi import clip_router, service

embedder = Embedder({folder!r})
assert len(embedder.embed_sync(["w5"])) == 1
app = service(clip_router(embedder))


@app.middleware("http")
async def tell(request, call_next):
    response = await call_next(request)
    response.headers["X-Worker"] = f"{{os.getpid()}} of {{os.getppid()}}"
    return response
"""

CODE = """
import sys
from gunicorn.app.wsgiapp import run

sys.argv = ["gunicorn", "app:app", "--preload", "--workers", "2", "--worker-class", "uvicorn_worker.UvicornWorker",
            "--chdir", {folder!r}, "--bind", "127.0.0.1:0"]
run()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn needs fork")
def test_both_workers_of_a_preloaded_app_embed_and_end(tmp_path):
    (tmp_path / "app.py").write_text(APP.format(folder=str(clip_folder(tmp_path))))

    def ask(_):
        answer = httpx.post(f"{served.url}/embed/text", json={"text": "w5"}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.headers["X-Worker"], tuple(answer.json()["embedding"])

    with serving(code=CODE.format(folder=str(tmp_path))) as served, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = []
        while len({worker for worker, _ in answers}) < 2 and len(answers) < 4000:
            answers += pool.map(ask, range(40))
        workers = {worker.split(" of ")[0]: worker.split(" of ")[1] for worker, _ in answers}
        assert len(workers) == 2 and set(workers.values()) == {str(served.process.pid)}
        assert len({vector for _, vector in answers}) == 1
    assert served.process.returncode == 0, "".join(served.lines)
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(int(worker), 0)
