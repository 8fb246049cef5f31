//! What was asked for, how it ended and how long it took, for Prometheus; names are the reference registry's.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The type of the text that [`Metrics::text`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    handler: &'static str,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    handler: &'static str,
    method: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Proxied {
    r#type: &'static str,
}

/// The figures of a registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Ended, Counter>,
    durations: Family<Kind, Histogram>,
    in_flight: Gauge,
    /// Of what is another registry's: asked for, and what of that was kept, and what was not.
    proxied: Family<Proxied, Counter>,
    hits: Family<Proxied, Counter>,
    misses: Family<Proxied, Counter>,
    blobs: Gauge,
    bytes: Gauge,
}

/// From half a millisecond to a quarter of an hour.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 4.0, 11))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations: Family<Kind, Histogram> = Family::new_with_constructor(durations);
        let (in_flight, blobs, bytes) = (Gauge::default(), Gauge::default(), Gauge::default());
        let http = registry.sub_registry_with_prefix("registry_http");
        http.register("requests", "Requests that were answered", requests.clone());
        http.register_with_unit(
            "request_duration",
            "How long it took until a request was answered",
            Unit::Seconds,
            durations.clone(),
        );
        http.register(
            "in_flight_requests",
            "Requests that are not answered yet",
            in_flight.clone(),
        );
        let (proxied, hits, misses) = (Family::default(), Family::default(), Family::default());
        let proxy = registry.sub_registry_with_prefix("registry_proxy");
        for (name, help, family) in [
            ("requests", "Requests for what is another registry's", &proxied),
            ("hits", "Those of them that found it kept", &hits),
            (
                "misses",
                "Those of them that fetched it, or waited for it",
                &misses,
            ),
        ] {
            let family: &Family<Proxied, Counter> = family;
            proxy.register(name, help, family.clone());
        }
        let storage = registry.sub_registry_with_prefix("registry_storage");
        storage.register("blobs", "Blobs and manifests that are stored", blobs.clone());
        storage.register_with_unit("size", "What they take", Unit::Bytes, bytes.clone());
        Self {
            registry,
            requests,
            durations,
            in_flight,
            proxied,
            hits,
            misses,
            blobs,
            bytes,
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn begins(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Of a request that was answered. Methods that nobody has are not told apart: there is no end of them.
    pub(crate) fn answered(&self, handler: &'static str, method: &http::Method, code: u16, took: Duration) {
        let method = match *method {
            http::Method::GET
            | http::Method::HEAD
            | http::Method::POST
            | http::Method::PUT
            | http::Method::PATCH
            | http::Method::DELETE => method.as_str().to_ascii_lowercase(),
            _ => "other".to_owned(),
        };
        let kind = Kind {
            handler,
            method: method.clone(),
        };
        self.durations.get_or_create(&kind).observe(took.as_secs_f64());
        let ended = Ended {
            handler,
            method,
            code,
        };
        self.requests.get_or_create(&ended).inc();
    }

    /// Of a request for what is another registry's, a manifest or a blob, and whether it was kept.
    pub(crate) fn proxied(&self, r#type: &'static str, kept: bool) {
        let proxied = Proxied { r#type };
        self.proxied.get_or_create(&proxied).inc();
        let kind = if kept { &self.hits } else { &self.misses };
        kind.get_or_create(&proxied).inc();
    }

    /// All of them, with what the storage holds: blobs and bytes.
    pub(crate) fn text(&self, (blobs, bytes): (u64, u64)) -> String {
        self.blobs.set(i64::try_from(blobs).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut text = String::new();
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // A String takes everything.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        let waiting = metrics.begins();
        metrics.answered("manifest", &http::Method::GET, 200, Duration::from_millis(3));
        metrics.answered("manifest", &http::Method::GET, 404, Duration::from_millis(1));
        let odd = "PROPFIND".parse().expect("a method");
        metrics.answered("base", &odd, 405, Duration::ZERO);
        metrics.proxied("blob", true);
        metrics.proxied("blob", false);
        let text = metrics.text((2, 1234));
        for line in [
            "registry_http_requests_total{handler=\"manifest\",method=\"get\",code=\"200\"} 1",
            "registry_http_requests_total{handler=\"base\",method=\"other\",code=\"405\"} 1",
            "registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"} 2",
            "registry_http_in_flight_requests 1",
            "registry_proxy_requests_total{type=\"blob\"} 2",
            "registry_proxy_hits_total{type=\"blob\"} 1",
            "registry_proxy_misses_total{type=\"blob\"} 1",
            "registry_storage_blobs 2",
            "registry_storage_size_bytes 1234",
        ] {
            assert!(
                text.lines().any(|there| there == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(text.ends_with("# EOF\n"));
        drop(waiting);
        assert!(
            metrics
                .text((0, 0))
                .contains("registry_http_in_flight_requests 0\n")
        );
    }
}
