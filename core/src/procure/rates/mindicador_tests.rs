//! mindicador.cl's form of answer, over a server on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;

/// Answers each request with what `answer` gives for its path, and remembers the paths. It ends with the process.
fn serve(answer: fn(&str) -> (u16, String)) -> (Mindicador, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/api/", listener.local_addr().expect("bound"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = answer(&path);
            paths.lock().unwrap_or_else(PoisonError::into_inner).push(path);
            let head = format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close");
            drop(write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
    (MindicadorConfig::new().with_base_url(url).open().expect("opened"), asked)
}

fn day(text: &str) -> Date {
    text.parse().expect("a day")
}

fn series(indicator: &str, entries: &str) -> String {
    format!(
        r#"{{"version":"1.7.0","autor":"mindicador.cl","codigo":"{indicator}","nombre":"x","unidad_medida":"Pesos","serie":[{entries}]}}"#
    )
}

#[tokio::test]
async fn rates_are_exact_asked_for_once_and_those_of_the_day() {
    let (rates, asked) = serve(|path| match path {
        "/api/uf/20-11-2026" => {
            (200, series("uf", r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.5900000000000001}"#))
        }
        "/api/utm/01-07-2026" => {
            (200, series("utm", r#"{"fecha":"2026-07-01T04:00:00.000Z","valor":68923}"#))
        }
        "/api/dolar/22-11-2026" => (200, series("dolar", "")),
        "/api/dolar/21-11-2026" => (404, "{\"error\":\"Not Found\"}".to_owned()),
        "/api/dolar/20-11-2026" => {
            (200, series("dolar", r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":931.27}"#))
        }
        _ => (500, "{}".to_owned()),
    });
    let cx = Context::new();
    for _ in 0..2 {
        let rate = rates.rate(&cx, &Currency::Clf, day("2026-11-20")).await.expect("a rate");
        assert_eq!(rate.pesos.to_string(), "39643.5900000000000001");
        assert_eq!(rate.source.as_str(), "mindicador");
    }
    let rate = rates.rate(&cx, &Currency::Utm, day("2026-07-29")).await.expect("the month's");
    assert_eq!((rate.pesos.to_string().as_str(), rate.date), ("68923", day("2026-07-01")));
    let error = rates.rate(&cx, &Currency::Usd, day("2026-11-22")).await.expect_err("a Sunday");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("USD for 2026-11-22"), "{error}");
    let friday = rates.rate_or_earlier(&cx, &Currency::Usd, day("2026-11-22"), 3).await.expect("Friday's");
    assert_eq!(friday.date, day("2026-11-20"));
    assert!(rates.rate(&cx, &Currency::Clp, day("2026-11-20")).await.is_ok());
    let error = rates.rate(&cx, &Currency::from("GBP"), day("2026-11-20")).await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = rates.rate(&cx, &Currency::Eur, day("2026-11-20")).await.expect_err("a failure");
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Unavailable, Some("mindicador")));
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let times = |path: &str| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!(
        (times("/api/uf/20-11-2026"), times("/api/dolar/22-11-2026")),
        (1, 2),
        "what there is not may come"
    );
}

#[test]
fn answers_about_something_else_are_refused() {
    let read = |body: &str| mindicador::read(body.as_bytes(), "uf", &Currency::Clf, day("2026-11-20"));
    let entry = r#"{"fecha":"2026-11-20T03:00:00.000Z","valor":39643.59}"#;
    assert!(read(&series("uf", entry)).expect("read").is_some());
    for (body, says) in [
        (series("dolar", entry), "another indicator"),
        (series("uf", entry).replace("Pesos", "Porcentaje"), "not in pesos"),
        (series("uf", &entry.replace("2026-11-20", "2026-11-19")), "another day"),
        (series("uf", &entry.replace("39643.59", "\"\"")), "no number"),
        (series("uf", &entry.replace("39643.59", "-1")), "no rate"),
        ("{}".to_owned(), "no series"),
        (series("uf", entry).replace("\"serie\"", "serie"), "not the JSON"),
        (series("uf", entry).split_at(120).0.to_owned(), "breaks off"),
    ] {
        let error = read(&body).expect_err(says);
        assert_eq!(error.kind(), ErrorKind::ResponseInvalid, "{says}");
        assert!(error.message().contains(says), "{error}");
    }
}
