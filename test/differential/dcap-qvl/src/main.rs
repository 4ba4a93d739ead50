//! Answers for each line of JSON on standard input whether dcap-qvl accepts that quote with that collateral, and with which
//! status: a peer to differ from. With `bench SECONDS` it verifies the first line again and again and prints how often a
//! second.
use base64::{engine::general_purpose::STANDARD, Engine};
use dcap_qvl::{verify::QuoteVerifier, QuoteCollateralV3};
use serde::Deserialize;
use std::{collections::HashMap, io::BufRead, panic, time::Instant};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    body: String,
    chain: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    at: u64,
    quote: String,
    root: String,
    tcb_info: HashMap<String, Document>,
    qe_identity: Document,
    root_crl: String,
    pck_crl: String,
    pck_crl_chain: String,
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn text(encoded: &str) -> String {
    String::from_utf8_lossy(&bytes(encoded)).into_owned()
}

/// The signed object and its signature, out of `{"name":{...},"signature":"..."}`.
fn split(body: &str) -> (String, Vec<u8>) {
    let body = text(body);
    let (Some(from), Some(to)) = (body.find(":{"), body.rfind(",\"signature\":\"")) else {
        return Default::default();
    };
    let signature = body[to + 14..].trim_end().trim_end_matches("\"}");
    (body[from + 1..to].to_string(), hex::decode(signature).unwrap_or_default())
}

fn collateral(request: &Request) -> QuoteCollateralV3 {
    let info = request.tcb_info.values().next();
    let (tcb_info, tcb_info_signature) = info.map(|document| split(&document.body)).unwrap_or_default();
    let (qe_identity, qe_identity_signature) = split(&request.qe_identity.body);
    QuoteCollateralV3 {
        pck_crl_issuer_chain: text(&request.pck_crl_chain),
        root_ca_crl: bytes(&request.root_crl),
        pck_crl: bytes(&request.pck_crl),
        tcb_info_issuer_chain: info.map(|document| text(&document.chain)).unwrap_or_default(),
        tcb_info,
        tcb_info_signature,
        qe_identity_issuer_chain: text(&request.qe_identity.chain),
        qe_identity,
        qe_identity_signature,
        pck_certificate_chain: None,
    }
}

fn judge(verifier: &QuoteVerifier, quote: &[u8], collateral: &QuoteCollateralV3, at: u64) -> Result<String, String> {
    panic::catch_unwind(panic::AssertUnwindSafe(|| {
        verifier
            .verify(quote, collateral, at)
            .map(|report| report.status)
            .map_err(|error| format!("{error:#}"))
    }))
    .unwrap_or_else(|_| Err("PANIC".to_string()))
}

fn main() {
    panic::set_hook(Box::new(|_| ()));
    let seconds = std::env::args().nth(2).and_then(|text| text.parse::<f64>().ok());
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line.expect("a line")).expect("a request");
        let verifier = QuoteVerifier::new(bytes(&request.root));
        let (quote, collateral) = (bytes(&request.quote), collateral(&request));
        let answer = judge(&verifier, &quote, &collateral, request.at);
        if let Some(seconds) = seconds {
            answer.expect("accepted");
            let (from, mut times) = (Instant::now(), 0);
            while from.elapsed().as_secs_f64() < seconds {
                judge(&verifier, &quote, &collateral, request.at).ok();
                times += 1;
            }
            println!("{:.0}", f64::from(times) / from.elapsed().as_secs_f64());
            return;
        }
        match answer {
            Ok(status) => println!("accepted {status}"),
            Err(error) => println!("refused {error:?}"),
        }
    }
}
