//! Chile's public procurement: a search and a market monitor over a ChileCompra on loopback.

use std::collections::BTreeMap;
use std::time::Duration;

use ayni::backends::mercado_publico::{MercadoPublico, MercadoPublicoConfig, SyncRequest};
use ayni::context::ManualClock;
use ayni::procure::store::RecordKind;
use ayni::procure::{DayReport, Money, Plan, PurchaseOrder};
use ayni::procure::{GetRequest, ListRequest, PlanRequest, ProcurementClient};
use ayni::{Context, Environment, Result};
use ayni_testkit::chilecompra::{ChileCompra, WorldSpec};

use crate::show;

/// A week of tenders, the latest purchase orders, what both cost, and what has changed three days later.
pub(crate) async fn market() -> Result<()> {
    show::section(
        "Public procurement",
        "ChileCompra on loopback: real HTTP, an invented world; the real one takes a ticket and two seconds a call",
    );
    let server = ChileCompra::start(WorldSpec::new(2026), 0).await?;
    let config = MercadoPublicoConfig::new()
        .with_ticket("any")
        .with_server(server.base_url())
        .with_lock(false, None)
        .with_min_gap_seconds(0.0);
    let client = config.open(&Environment::empty())?;
    search(&client, &server).await?;
    monitor(&client, &server).await?;
    ledger(&client, &server).await?;
    three_days_later(&client, &server).await
}

/// The service can search neither by words nor by range: a plan says what it takes, and what is known is free.
async fn search(client: &MercadoPublico, server: &ChileCompra) -> Result<()> {
    let (cx, today) = (Context::new(), server.now().date());
    let week = ListRequest::between(today.plus_days(-6), today).with_text("mantencion");
    show::line(format!("tenders of the week with 'mantencion', {} to {today}", today.plus_days(-6)));
    show::fact("plan", told(&plan(client, RecordKind::Tender, &week).await?));
    let found = client.tenders(&cx, week.clone()).await?;
    show::fact("asked", format!("{} calls", server.report().requests));
    for row in found.rows.iter().take(4) {
        let closes = row.closes.map_or_else(|| "?".to_owned(), |closes| closes.wall_clock());
        show::line(format!("  {:<20} {:<10} closes {closes:<20} {}", row.code, row.state, row.name));
    }
    show::fact("found", format!("{} tenders", found.rows.len()));
    show::line("completeness per day:");
    for day in &found.days {
        show::line(format!("  {}  {}", day.day, completeness(day)));
    }
    show::fact("plan, asked again", told(&plan(client, RecordKind::Tender, &week).await?));
    Ok(())
}

async fn plan(client: &MercadoPublico, kind: RecordKind, list: &ListRequest) -> Result<Plan> {
    Ok(client.plan(&Context::new(), PlanRequest::new(kind, list.clone())).await?.record)
}

fn told(plan: &Plan) -> String {
    let exactly = if plan.exact { "exactly" } else { "at least" };
    format!(
        "{exactly} {} calls, {:.2} % of the day's quota, {} of {} days known",
        plan.calls,
        plan.quota_percent,
        plan.days_known.len(),
        plan.days_asked.len()
    )
}

fn completeness(day: &DayReport) -> String {
    let state = format!("{:?}", day.completeness).to_lowercase();
    let from = if day.from_store { "out of the store" } else { "asked" };
    format!("{state:<9} {:>4} rows, {from}", day.rows)
}

/// What the state buys right now: the last orders with who sells, who buys and for how much.
async fn monitor(client: &MercadoPublico, server: &ChileCompra) -> Result<()> {
    let (cx, today) = (Context::new(), server.now().date());
    show::line("");
    show::line("market monitor: the latest purchase orders");
    // A weekend has few.
    let days = ListRequest::between(today.plus_days(-3), today);
    show::fact("plan", told(&plan(client, RecordKind::PurchaseOrder, &days).await?));
    let mut rows = client.purchase_orders(&cx, days).await?.rows;
    rows.truncate(12);
    let mut orders: Vec<PurchaseOrder> = Vec::new();
    for row in &rows {
        orders.push(client.purchase_order(&cx, GetRequest::new(&row.code)).await?.record);
    }
    orders.sort_by_key(|order| std::cmp::Reverse(order.sent));
    for order in orders.iter().take(8) {
        let when = order.sent.map_or_else(String::new, |sent| sent.wall_clock());
        let amount = order.total.as_ref().map_or_else(|| "?".to_owned(), Money::to_string);
        let who = |name: Option<&str>| name.unwrap_or("?").chars().take(34).collect::<String>();
        let buyer = who(order.buyer.as_ref().map(|buyer| buyer.name.as_str()));
        let supplier = who(order.supplier.as_ref().map(|supplier| supplier.name.as_str()));
        show::line(format!("  {:<16} {amount:>16}  {buyer:<34} ← {supplier}", when.get(..16).unwrap_or("")));
    }
    Ok(())
}

/// What was counted before each request left, and what the server counted.
async fn ledger(client: &MercadoPublico, server: &ChileCompra) -> Result<()> {
    let quota = client.quota(&Context::new()).await?;
    let report = server.report();
    show::line("");
    show::line("quota ledger");
    show::fact("day in Santiago", quota.day);
    let (used, limit, left) = (quota.used, quota.limit, quota.left());
    show::fact("used", format!("{used} of {limit}, {left} left, {} reserved", quota.reserved));
    show::fact("begins anew at", quota.resets_at);
    let spent: u64 = report.spent.values().sum();
    show::fact("counted by the server", format!("{spent} requests, {} at the same time", report.violations));
    Ok(())
}

/// What a sync tells once the world has gone on.
async fn three_days_later(client: &MercadoPublico, server: &ChileCompra) -> Result<()> {
    let clock = ManualClock::new();
    let cx = Context::new().with_clock(clock.clone().into());
    let request = SyncRequest::new(RecordKind::Tender, server.now().date().plus_days(-6));
    show::line("");
    show::line("sync of tenders, now and three days later");
    for when in ["now", "three days later"] {
        let before = server.report().requests;
        let report = client.sync(&cx, &request).await?;
        let mut changes: BTreeMap<&str, usize> = BTreeMap::new();
        for event in &report.events {
            *changes.entry(event.change.as_str()).or_default() += 1;
        }
        let calls = server.report().requests - before;
        let changes: Vec<String> =
            changes.iter().map(|(change, count)| format!("{count} {change}")).collect();
        show::fact(when, format!("{calls} calls: {}", changes.join(", ")));
        let three_days = Duration::from_secs(3 * 24 * 3600);
        server.advance(three_days);
        clock.advance(three_days);
    }
    Ok(())
}
