//! Answers each line of JSON on standard input: whether dcap-qvl accepts that quote with that collateral, and with which
//! status; or with Bench how often it does so a second. A peer to differ from, and to be measured against.
use base64::{engine::general_purpose::STANDARD, Engine};
use dcap_qvl::{verify::QuoteVerifier, QuoteCollateralV3};
use serde::Deserialize;
use std::{io::BufRead, panic, time::Instant};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    at: u64,
    quote: String,
    root: String,
    collateral: Collateral,
    bench: Option<Bench>,
}

/// As in the library's own files: bytes as hexadecimal digits.
#[derive(Deserialize)]
struct Collateral {
    pck_crl_issuer_chain: String,
    root_ca_crl: String,
    pck_crl: String,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    tcb_info_signature: String,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bench {
    seconds: f64,
}

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_default()
}

impl From<Collateral> for QuoteCollateralV3 {
    fn from(given: Collateral) -> Self {
        QuoteCollateralV3 {
            pck_crl_issuer_chain: given.pck_crl_issuer_chain,
            root_ca_crl: hex(&given.root_ca_crl),
            pck_crl: hex(&given.pck_crl),
            tcb_info_issuer_chain: given.tcb_info_issuer_chain,
            tcb_info: given.tcb_info,
            tcb_info_signature: hex(&given.tcb_info_signature),
            qe_identity_issuer_chain: given.qe_identity_issuer_chain,
            qe_identity: given.qe_identity,
            qe_identity_signature: hex(&given.qe_identity_signature),
            pck_certificate_chain: None,
        }
    }
}

fn answer(request: Request) -> Result<String, String> {
    let decode = |text: &str| STANDARD.decode(text).unwrap_or_default();
    let verifier = QuoteVerifier::new(decode(&request.root));
    let (quote, collateral) = (decode(&request.quote), request.collateral.into());
    let judge = || verifier.verify(&quote, &collateral, request.at).map_err(|error| format!("{error:#}"));
    let status = judge()?.status;
    let Some(Bench { seconds }) = request.bench else {
        return Ok(format!("accepted {status}"));
    };
    let (from, mut times) = (Instant::now(), 0);
    while from.elapsed().as_secs_f64() < seconds {
        judge()?;
        times += 1;
    }
    Ok(format!("rate {}", f64::from(times) / from.elapsed().as_secs_f64()))
}

fn main() {
    panic::set_hook(Box::new(|_| ()));
    for line in std::io::stdin().lock().lines() {
        let request = serde_json::from_str(&line.expect("a line")).expect("a request");
        match panic::catch_unwind(panic::AssertUnwindSafe(|| answer(request))) {
            Ok(Ok(said)) => println!("{said}"),
            Ok(Err(error)) => println!("refused {error:?}"),
            Err(_) => println!("refused \"PANIC\""),
        }
    }
}
