//! One tender, asked about: what a model claims, and what of it the record bears out.

use std::time::{Duration, SystemTime};

use ayni::backends::scripted::{Scripted, ScriptedConfig};
use ayni::context::ManualClock;
use ayni::procure::analysis::{Question, analyse};
use ayni::procure::export::{PdfPage, tender_pdf};
use ayni::procure::{AnyProcurement, GetRequest};
use ayni::{AnyChat, Context, Result};
use serde_json::json;

use crate::show;

/// A model's answer, as a script: three claims can be written, one of them as an opinion; three cannot.
fn answer() -> String {
    json!({
        "claims": [
            "Se compra: {/row/name}, por {/estimated_amount}.",
            "Las ofertas se reciben hasta el {/row/closes}.",
            "El plazo es corto.",
            "El presupuesto alcanza los $86.900.000.",
            "La licitación está adjudicada.",
            "Exige una {/description: garantía del 5 %}.",
        ],
        "verdict": "go"
    })
    .to_string()
}

/// The answer of a model that makes mistakes, with the record's own values.
pub(crate) async fn with_proof() -> Result<()> {
    show::section(
        "One analysed tender",
        "the model references fields, the code writes their values; what no field says is dropped and listed",
    );
    // The invented tender closes on 2026-02-02: asked on 2026-01-20, whenever the tour is taken.
    let clock = ManualClock::new();
    clock.set_system_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_768_910_400));
    let cx = Context::new().with_clock(clock.into());
    let client = AnyProcurement::new(Scripted::default());
    let tender = client.tender(&cx, GetRequest::new("9002-7-LR26")).await?.record;
    let chat = AnyChat::new(Scripted::new(ScriptedConfig::default().with_replies([answer()]))?);
    let analysis = analyse(&cx, &tender, &Question::go_no_go(), &chat).await?;

    show::fact("tender", format!("{} {}", tender.row.code, tender.row.name));
    for claim in &analysis.claims {
        show::line(format!("  {} {}", if claim.opinion { "opinion " } else { "holds   " }, claim.text));
        for citation in &claim.citations {
            show::line(format!("           {} = {}", citation.path, citation.value));
        }
    }
    for claim in &analysis.rejected {
        show::line(format!("  dropped  {}", claim.text));
        show::line(format!("           {}", claim.reason));
    }
    let advice = analysis.verdict.map_or("none that the record allows", |verdict| verdict.as_str());
    show::fact("advice", advice);
    let page = tender_pdf(&tender, Some(&analysis), &PdfPage::new().with_made_by("ayni, make tour"))?;
    show::fact("the same on paper", format!("{} bytes of PDF, one page", page.len()));
    Ok(())
}
