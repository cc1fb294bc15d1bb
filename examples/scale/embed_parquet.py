"""Embeds a column of a Parquet dataset with Ray Data: each worker loads the model once, batches stream through, and the vectors
are written beside their rows.

    python embed_parquet.py texts/ vectors/ --model sentence-transformers/all-MiniLM-L6-v2 --workers 8
"""

import argparse

import ray

from ayni.batch import EmbedBatch


def embed(source: str, target: str, model: str, *, column: str = "text", workers: int = 2, threads: int = 1) -> int:
    """Writes the rows of `source` with their vectors to `target`; how many there are."""
    rows = ray.data.read_parquet(source).map_batches(
        EmbedBatch,
        fn_constructor_kwargs={"config": model, "column": column, "role": "document"},
        # Ayni sorts a batch by length and computes it without padding: large ones lose nothing.
        batch_size=512,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
        runtime_env={"env_vars": {"AYNI_THREADS": str(threads)}},
    )
    rows.write_parquet(target)
    return ray.data.read_parquet(target).count()


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeds a column of a Parquet dataset with Ray Data.")
    parser.add_argument("source", help="a Parquet file or a folder of them, anywhere that Ray reads from")
    parser.add_argument("target", help="the folder that the rows with their vectors are written to")
    parser.add_argument("--model", required=True, help="a folder or an id on the Hub")
    parser.add_argument("--column", default="text")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    given = parser.parse_args()
    print(embed(**vars(given)), "rows")


if __name__ == "__main__":
    main()
