//! The rules there are.

use std::fmt::Write;

/// How much a finding matters. The order is that of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; often right as it is.
    Info,
    /// A habit that will cost something.
    Warning,
    /// It doesn't build, or it gives something away.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error]
            .into_iter()
            .find(|severity| severity.name() == name)
    }
}

/// One thing that is looked for. Names never change.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    pub severity: Severity,
    /// What is found, in a sentence.
    pub about: &'static str,
    /// The name of BuildKit's check for the same thing.
    pub buildkit: Option<&'static str>,
}

macro_rules! rules {
    ($($constant:ident $name:literal $severity:ident $about:literal $($buildkit:literal)?;)*) => {
        $(pub(crate) const $constant: &Rule = &Rule {
            name: $name,
            severity: Severity::$severity,
            about: $about,
            buildkit: rules!(@ $($buildkit)?),
        };)*
        /// All rules, by name.
        pub static RULES: &[&Rule] = &[$($constant),*];
    };
    (@ $buildkit:literal) => { Some($buildkit) };
    (@) => { None };
}

rules! {
    ADD_INSTEAD_OF_COPY "add-instead-of-copy" Info "ADD of plain files, which COPY does without surprises";
    ADD_WITHOUT_CHECKSUM "add-without-checksum" Warning "ADD of a URL whose content nothing verifies";
    APT_ASSUME_YES "apt-assume-yes" Warning "apt-get install that asks and gets no answer";
    APT_COMMAND "apt-command" Info "apt, which is made for people, in a script";
    APT_LISTS_LEFT "apt-lists-left" Warning "package lists of apt left in the layer";
    APT_RECOMMENDS "apt-recommends" Info "apt-get install with all recommended packages";
    APT_UPDATE_ALONE "apt-update-alone" Warning "apt-get update in a step without the install it is for";
    BASE_UNPINNED "base-unpinned" Info "a base image named by a tag, which may move, without its digest";
    BASE_UNTAGGED "base-untagged" Warning "a base image without a tag, or by its tag latest";
    CACHE_LEFT "cache-left" Warning "the cache of a package manager left in the layer";
    COMMITTED "committed" Warning "an image made from a container instead of a Dockerfile";
    CONSISTENT_CASING "consistent-instruction-casing" Info "keywords in upper and lower case in one file" "ConsistentInstructionCasing";
    COPY_BEFORE_INSTALL "copy-before-install" Warning "all sources copied before dependencies are installed, which so are installed again after every change";
    COPY_IGNORED_FILE "copy-ignored-file" Warning "COPY or ADD of a file that .dockerignore leaves out" "CopyIgnoredFile";
    DELETED_LATER "deleted-later" Warning "files that a later layer deletes: they stay in the image, and are transferred with it";
    DOCKERIGNORE_MISSING "dockerignore-missing" Warning "the whole directory copied, and no .dockerignore";
    DUPLICATE_STAGE "duplicate-stage-name" Error "two stages of one name" "DuplicateStageName";
    EMPTY_PASSWORD "empty-password" Error "an account without a password that can log in";
    EXEC_FORM_QUOTING "exec-form-quoting" Error "what looks like a JSON array but is none, so that the shell runs it";
    EXPOSE_INVALID "expose-invalid-format" Warning "EXPOSE of something that is not a port of the container" "ExposeInvalidFormat";
    EXPOSE_CASING "expose-proto-casing" Info "a protocol in upper case in EXPOSE" "ExposeProtoCasing";
    FROM_AS_CASING "from-as-casing" Info "FROM and AS in different case" "FromAsCasing";
    FROM_PLATFORM_CONST "from-platform-flag-const-disallowed" Info "FROM --platform with a fixed value" "FromPlatformFlagConstDisallowed";
    HEALTHCHECK_MISSING "healthcheck-missing" Info "a service without a health check";
    IMAGE_NAME "image-name" Info "an image whose name tells neither registry nor organisation";
    INVALID_DEFAULT_ARG "invalid-default-arg-in-from" Warning "a FROM that is no image without --build-arg" "InvalidDefaultArgInFrom";
    JSON_ARGS "json-args-recommended" Warning "CMD or ENTRYPOINT in shell form: signals go to a shell" "JSONArgsRecommended";
    LABELS_MISSING "labels-missing" Info "no label that tells where the image comes from";
    LARGE_LAYER "large-layer" Info "a layer of more than 500 MB";
    LATEST_ONLY "latest-only" Warning "an image whose only tag is latest";
    LEGACY_KEY_VALUE "legacy-key-value-format" Info "ENV or LABEL without an equals sign" "LegacyKeyValueFormat";
    MAINTAINER "maintainer-deprecated" Info "MAINTAINER, which is deprecated" "MaintainerDeprecated";
    MULTIPLE_INSTRUCTIONS "multiple-instructions-disallowed" Warning "an instruction of which only the last of a stage counts" "MultipleInstructionsDisallowed";
    NO_EMPTY_CONTINUATION "no-empty-continuation" Warning "an empty line in a continued instruction" "NoEmptyContinuation";
    OVERWRITTEN_LATER "overwritten-later" Warning "files that a later layer stores again";
    PIPE_WITHOUT_PIPEFAIL "pipe-without-pipefail" Warning "a download into a pipe whose failure nobody notices";
    REDUNDANT_PLATFORM "redundant-target-platform" Info "FROM --platform=$TARGETPLATFORM, which is the default" "RedundantTargetPlatform";
    RESERVED_STAGE "reserved-stage-name" Error "a stage called scratch or context" "ReservedStageName";
    ROOT_USER "root-user" Warning "programs run as root";
    SECRET_FILE "secret-file" Error "a file with keys or passwords in the image";
    SECRET_IN_TEXT "secret-in-text" Error "a token, a key or a password in plain text";
    SECRET_IN_ENV "secrets-used-in-arg-or-env" Warning "ARG or ENV that is called like a secret" "SecretsUsedInArgOrEnv";
    SETUID "setuid-program" Info "programs that run with the rights of their owner";
    STAGE_CASING "stage-name-casing" Info "a stage whose name is not in lower case" "StageNameCasing";
    STAGE_NOT_FOUND "stage-not-found" Error "files from a stage that is not there, or not yet";
    SUDO "sudo" Warning "sudo in a build step";
    SYNTAX "syntax" Error "what the builder refuses";
    UNDEFINED_ARG "undefined-arg-in-from" Warning "a variable in FROM that no ARG before it declares" "UndefinedArgInFrom";
    UNDEFINED_VAR "undefined-var" Warning "a variable that is not set where it is used" "UndefinedVar";
    VERSION_TAG_MOVED "version-tag-moved" Warning "a tag that names a version and has stood for another image";
    WORKDIR_RELATIVE "workdir-relative-path" Warning "a relative WORKDIR on a base whose directory is not known" "WorkdirRelativePath";
    WORLD_WRITABLE "world-writable" Warning "files that everybody may write to";
}

/// No rule has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRule(pub String);

/// The rule of that name, or of that name of BuildKit's; letters' case and hyphens don't count.
pub fn find(name: &str) -> Result<&'static Rule, UnknownRule> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let wanted = plain(name.trim());
    RULES
        .iter()
        .find(|rule| plain(rule.name) == wanted)
        .copied()
        .ok_or_else(|| UnknownRule(name.trim().to_owned()))
}

/// All rules as a table in Markdown.
pub fn table() -> String {
    let mut text = String::from("| rule | severity | finds | BuildKit |\n|---|---|---|---|\n");
    for rule in RULES {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            rule.name,
            rule.severity.name(),
            rule.about,
            rule.buildkit.map_or_else(String::new, |name| format!("`{name}`"))
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_found_in_every_spelling() {
        let names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for rule in RULES {
            assert_eq!(find(rule.name), Ok(*rule));
            if let Some(name) = rule.buildkit {
                assert_eq!(find(name), Ok(*rule), "{name}");
            }
        }
        assert_eq!(find("none"), Err(UnknownRule("none".to_owned())));
    }
}
