//! Answers each line of JSON on standard input: whether `sev` accepts that report under that chain, or with Bench how often
//! it does so a second. A peer to differ from, and to be measured against.
use base64::{engine::general_purpose::STANDARD, Engine};
use serde::Deserialize;
use sev::certs::snp::{Certificate, Chain, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use std::{io::BufRead, panic, time::Instant};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    report: String,
    vek: String,
    vlek: bool,
    ark: String,
    ask: String,
    asvk: String,
    bench: Option<Bench>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bench {
    seconds: f64,
    warm: bool,
}

struct Evidence {
    report: Vec<u8>,
    vek: Vec<u8>,
    ark: Vec<u8>,
    issuer: Vec<u8>,
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

/// Certificates and report are parsed, chain and report verified.
fn cold(evidence: &Evidence) -> std::io::Result<()> {
    let chain = Chain::from_der(&evidence.ark, &evidence.issuer, &evidence.vek)?;
    let report = AttestationReport::from_bytes(&evidence.report)?;
    (&chain, &report).verify()
}

/// The report alone, under a certificate that was parsed and verified before.
fn warm(evidence: &Evidence, vek: &Certificate) -> std::io::Result<()> {
    let report = AttestationReport::from_bytes(&evidence.report)?;
    (vek, &report).verify()
}

fn measure(evidence: &Evidence, bench: &Bench) -> std::io::Result<f64> {
    cold(evidence)?;
    let vek = Certificate::from_der(&evidence.vek)?;
    let (from, mut times) = (Instant::now(), 0);
    while from.elapsed().as_secs_f64() < bench.seconds {
        if bench.warm {
            warm(evidence, &vek)?;
        } else {
            cold(evidence)?;
        }
        times += 1;
    }
    Ok(f64::from(times) / from.elapsed().as_secs_f64())
}

fn main() {
    panic::set_hook(Box::new(|_| ()));
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line.expect("a line")).expect("a request");
        let evidence = Evidence {
            report: bytes(&request.report),
            vek: bytes(&request.vek),
            ark: bytes(&request.ark),
            issuer: bytes(if request.vlek { &request.asvk } else { &request.ask }),
        };
        let answer = panic::catch_unwind(|| match &request.bench {
            Some(bench) => measure(&evidence, bench).map(|rate| format!("rate {rate}")),
            None => cold(&evidence).map(|()| "accepted".to_string()),
        });
        match answer {
            Ok(Ok(said)) => println!("{said}"),
            Ok(Err(error)) => println!("refused {:?}", error.to_string()),
            Err(_) => println!("refused \"PANIC\""),
        }
    }
}
