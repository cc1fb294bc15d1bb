"""The peer: sentence-transformers behind FastAPI as both documentations show it."""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(sys.argv[1])


class Text(BaseModel):
    text: str


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/embed/text")
def embed_text(body: Text) -> dict[str, Any]:
    vector = model.encode(body.text, normalize_embeddings=True)
    return {"embedding": vector.tolist(), "dimensions": len(vector)}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
