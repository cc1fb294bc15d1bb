"""CLIP embeddings as a service: texts and images to vectors of one space."""

from ayni.fastapi import clip_router, service

# EMBEDDING_MODEL, API_KEY and ALLOW_ORIGINS of the environment decide the rest.
app = service(clip_router(), title="CLIP embeddings")
