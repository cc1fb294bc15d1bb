"""Embeddings and chat on Ray Serve, as OpenAI's routes. Each replica holds its model once; ayni joins the requests of concurrent
callers into batches, so that Serve need not: it counts requests, and starts and stops replicas.

    EMBEDDING_MODEL=sentence-transformers/all-MiniLM-L6-v2 serve run serve_app:embeddings
"""

import os

from fastapi import FastAPI
from ray import serve

from ayni import Chat, Embedder
from ayni.fastapi import openai_router, service

# As many requests at a time as a replica joins into batches; more wait in Serve.
ONGOING = 64
THREADS = int(os.environ.get("REPLICA_THREADS", "1"))


def scaling(target: float) -> dict[str, float]:
    """Between MIN_REPLICAS and MAX_REPLICAS, by the requests that each has at a time."""
    least, most = (int(os.environ.get(name, default)) for name, default in (("MIN_REPLICAS", "1"), ("MAX_REPLICAS", "4")))
    return {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": target, "upscale_delay_s": 5}


# Functions, because a model can't be sent to a replica: it is opened there. API_KEY and the other settings of every service come
# from the replica's environment.
def embedding_service() -> FastAPI:
    """OpenAI's route for embeddings, by the model EMBEDDING_MODEL."""
    os.environ.setdefault("AYNI_THREADS", str(THREADS))
    return service(openai_router(embedder=Embedder(os.environ["EMBEDDING_MODEL"])), title="Embeddings")


def chat_service() -> FastAPI:
    """OpenAI's route for chats, by the model CHAT_MODEL."""
    os.environ.setdefault("AYNI_THREADS", str(THREADS))
    return service(openai_router(Chat(os.environ["CHAT_MODEL"])), title="Chat")


@serve.deployment(max_ongoing_requests=ONGOING, autoscaling_config=scaling(16), ray_actor_options={"num_cpus": THREADS})
@serve.ingress(embedding_service)
class Embeddings:
    """POST /v1/embeddings."""


@serve.deployment(max_ongoing_requests=ONGOING, autoscaling_config=scaling(4), ray_actor_options={"num_cpus": THREADS})
@serve.ingress(chat_service)
class Conversations:
    """POST /v1/chat/completions."""


embeddings = Embeddings.bind()
chat = Conversations.bind()
