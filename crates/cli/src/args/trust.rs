//! `--disable-content-trust`: what Docker's client does by default, and all that is done here.

use clap::Args;

#[derive(Args, Debug, Default)]
pub(crate) struct TrustFlags {
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::values::parse_bool, help = "Skip image verification (default true)")]
    pub(crate) disable_content_trust: Option<bool>,
}
