"""Triage chat: a patient's question to the model of the mode that is asked for."""

from ayni.fastapi import service, triage_router


async def summary(patient_mrn: str) -> str | None:
    """Where the summary of a patient comes from: put your record system here. Nothing of it is logged."""
    return None


app = service(triage_router(summary=summary), title="Triage chat")
