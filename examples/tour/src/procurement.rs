//! Public procurement, from the scripted records so far.

use ayni::backends::scripted::ScriptedConfig;
use ayni::{Context, GetRequest, ListRequest, ProcurementConfig, Result, Setup};

use crate::show;

/// A search, and the tender that it finds.
pub(crate) async fn search() -> Result<()> {
    show::section(
        "Public procurement",
        "the typed interface over three invented records; Mercado Público comes next",
    );
    let client = ayni::open_procurement(Setup::<ProcurementConfig>::new(ScriptedConfig::default()))?;
    let found = client.tenders(&Context::new(), ListRequest::new().with_text("ambulancia")).await?;
    for row in &found.rows {
        show::fact(&row.code, format!("{} ({})", row.name, row.state));
        let tender = client.tender(&Context::new(), GetRequest::new(&row.code)).await?;
        let amount =
            tender.record.estimated_amount.map_or_else(|| "not public".to_owned(), |money| money.to_string());
        show::fact("estimated amount", amount);
        show::fact("source, as of", format!("{}, {}", tender.source.as_str(), tender.as_of));
    }
    Ok(())
}
