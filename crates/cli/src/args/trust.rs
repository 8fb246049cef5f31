//! `--disable-content-trust`: what Docker's client does by default, and all that is done here.

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct TrustFlags {
    #[arg(long, default_value_t = true, help = "Skip image verification (default true)")]
    pub(crate) disable_content_trust: bool,
}

impl Default for TrustFlags {
    fn default() -> Self {
        Self {
            disable_content_trust: true,
        }
    }
}
