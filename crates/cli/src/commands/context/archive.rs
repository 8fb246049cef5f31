//! A context as an archive, in the form of Docker's client: `meta.json`, and `tls/ENDPOINT/FILE`. What comes in is a
//! stranger's: bounded, and no name in it leads anywhere else.

use std::io::{self, Read};

use super::zip;
use crate::contexts::{Context, MAX_FILE, TlsFiles};
use crate::error::CliError;

/// Zeros that end an archive whatever it ended with: padding, and two empty blocks.
const END: u64 = 512 + 1024;

/// Writes a context as a tar.
pub(super) fn write(context: &Context, tls: &TlsFiles) -> Result<Vec<u8>, CliError> {
    let mut tar = tar::Builder::new(Vec::new());
    file(&mut tar, "meta.json", &context.to_json()?, 0o644)?;
    directory(&mut tar, "tls")?;
    for (endpoint, files) in tls {
        directory(&mut tar, &format!("tls/{endpoint}"))?;
        for (name, bytes) in files {
            file(&mut tar, &format!("tls/{endpoint}/{name}"), bytes, 0o600)?;
        }
    }
    Ok(tar.into_inner()?)
}

fn file(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, bytes)
}

fn directory(tar: &mut tar::Builder<Vec<u8>>, name: &str) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o700);
    tar.append_data(&mut header, name, io::empty())
}

/// Reads a context and its TLS files from a tar or a zip of bounded size.
pub(super) fn read(archive: &[u8]) -> Result<(Context, TlsFiles), CliError> {
    let files = match zip::begins(archive) {
        true => zip::files(archive, MAX_FILE).map_err(|error| invalid(error.to_string()))?,
        false => tar_files(archive)?,
    };
    let mut context = None;
    let mut tls = TlsFiles::new();
    for (name, bytes) in files {
        if name == "meta.json" {
            let read: Context =
                serde_json::from_slice(&bytes).map_err(|error| invalid(format!("{name}: {error}")))?;
            context = Some(read);
            continue;
        }
        let parts: Vec<&str> = name.split('/').collect();
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        match parts.as_slice() {
            ["tls", endpoint, file] if plain(endpoint) && plain(file) => {
                let files = tls.entry((*endpoint).to_owned()).or_default();
                files.insert((*file).to_owned(), bytes);
            }
            _ => return Err(invalid(format!("unexpected context file {name:?}"))),
        }
    }
    let context = context.ok_or_else(|| invalid("no metadata found".to_owned()))?;
    Ok((context, tls))
}

fn invalid(reason: String) -> CliError {
    CliError::Invalid(format!("invalid context: {reason}"))
}

fn tar_files(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    // Docker's client ends an archive with the last byte of the last file, without what pads it.
    let length = archive.len() as u64;
    let mut archive = tar::Archive::new(archive.chain(io::repeat(0).take(END)));
    let entries = archive.entries().map_err(|error| invalid(error.to_string()))?;
    let mut files = Vec::new();
    for entry in entries {
        let mut entry = entry.map_err(|error| invalid(error.to_string()))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.raw_file_position() + entry.size() > length {
            return Err(invalid(format!("it ends in the middle of {name:?}")));
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| invalid(format!("{name}: {error}")))?;
        files.push((name, bytes));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Context, TlsFiles) {
        let mut context = Context::new("box");
        context.describe("a <box>");
        context.endpoints.docker.host = "tcp://box:2376".to_owned();
        let files = [("ca.pem".to_owned(), b"ca".to_vec())].into();
        (context, [("docker".to_owned(), files)].into())
    }

    #[test]
    fn what_is_written_is_read() {
        let (context, tls) = sample();
        let archive = write(&context, &tls).unwrap();
        // Cut behind the last file's contents, as Docker's client has it.
        let end = archive.len() - 1024 - 512 + 2;
        assert_eq!(&archive[end - 2..end], b"ca");
        read(&archive[..end - 1]).expect_err("cut in the middle of a file");
        let (again, files) = read(&archive[..end]).unwrap();
        assert_eq!(
            String::from_utf8(again.to_json().unwrap()).unwrap(),
            r#"{"Name":"box","Metadata":{"Description":"a \u003cbox\u003e"},"Endpoints":{"docker":{"Host":"tcp://box:2376","SkipTLSVerify":false}}}"#
        );
        assert_eq!(files, tls);
        let zipped = include_bytes!("../../../tests/data/context.zip");
        let (zipped, files) = read(zipped).unwrap();
        assert_eq!(zipped.endpoints.docker.host, "tcp://box:2376");
        assert_eq!(files, tls);
    }

    #[test]
    fn archives_of_others_lead_nowhere() {
        let (context, _) = sample();
        let with = |name: &str, bytes: &[u8]| {
            let mut tar = tar::Builder::new(Vec::new());
            file(&mut tar, "meta.json", &context.to_json().unwrap(), 0o644).unwrap();
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, bytes).unwrap();
            read(&tar.into_inner().unwrap()).map(drop)
        };
        assert!(with("tls/docker/ca.pem", b"x").is_ok());
        for name in [
            "tls/../ca.pem",
            "tls/docker/..",
            "tls/docker/a/b",
            "/etc/passwd",
            "other",
        ] {
            let error = with(name, b"x").unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid context: unexpected context file {name:?}")
            );
        }
        assert_eq!(
            read(b"").unwrap_err().to_string(),
            "invalid context: no metadata found"
        );
        assert!(read(&[1; 2000]).is_err());
    }
}
