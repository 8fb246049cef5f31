//! `htpasswd`: the file of users that registries read, by the options of Apache's program that matter for it.
//!
//! Called by that name, as a link, the program writes it: the image of a registry has no other. Passwords are kept by bcrypt,
//! the one kind that registries take.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use fs_err as fs;

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::printer::Printer;
use crate::terminal::read_hidden_line;

/// What the program is called then.
pub(crate) const NAME: &str = "htpasswd";

const USAGE: &str = "Usage:
  htpasswd [-cBDv] [-C cost] FILE USER           ask for the password
  htpasswd -b[cBv] [-C cost] FILE USER PASSWORD
  htpasswd -n[Bi] [-C cost] USER                 write the line to standard output
  htpasswd -nb[B] [-C cost] USER PASSWORD

  -c  make a new file        -n  show the line and change no file
  -b  the password is given  -i  the password comes on standard input
  -B  use bcrypt: always so  -C  what a password costs, 4 to 17 (default 10)
  -D  remove the user        -v  check the password";

/// More is no password: bcrypt counts 72 bytes.
const MAX_PASSWORD: usize = 72;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    create: bool,
    show: bool,
    given: bool,
    input: bool,
    delete: bool,
    verify: bool,
    cost: Option<u32>,
    operands: Vec<String>,
}

fn usage(why: &str) -> CliError {
    CliError::Invalid(format!("{NAME}: {why}\n\n{USAGE}"))
}

impl Options {
    fn read(words: &[String]) -> Result<Self, CliError> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let letters = match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() && options.operands.is_empty() => letters,
                _ => {
                    options.operands.push(word.clone());
                    continue;
                }
            };
            for (index, letter) in letters.char_indices() {
                match letter {
                    'c' => options.create = true,
                    'n' => options.show = true,
                    'b' => options.given = true,
                    'i' => options.input = true,
                    'D' => options.delete = true,
                    'v' => options.verify = true,
                    'B' => {}
                    'C' => {
                        let joined = Some(&letters[index + 1..]).filter(|rest| !rest.is_empty());
                        let text = joined
                            .or_else(|| words.next().map(String::as_str))
                            .unwrap_or_default();
                        let cost = text.parse().ok().filter(|cost| (4..=17).contains(cost));
                        options.cost = Some(cost.ok_or_else(|| usage("-C takes a number from 4 to 17"))?);
                        break;
                    }
                    'm' | 'd' | 's' | 'p' | '2' | '5' => {
                        return Err(usage(&format!("-{letter}: registries take bcrypt alone, use -B")));
                    }
                    _ => return Err(usage(&format!("-{letter} is not known"))),
                }
            }
        }
        let expected = 2 - usize::from(options.show) + usize::from(options.given && !options.delete);
        if options.operands.len() != expected {
            return Err(usage(&format!(
                "{expected} words are expected, not {}",
                options.operands.len()
            )));
        }
        if options.show && (options.create || options.delete || options.verify) {
            return Err(usage("-n goes with no file"));
        }
        Ok(options)
    }
}

/// Does what the words say.
pub(crate) fn run(words: &[String]) -> Result<ExitStatus, CliError> {
    if let [word] = words
        && matches!(word.as_str(), "-h" | "--help")
    {
        Printer.line(USAGE);
        return Ok(ExitStatus::SUCCESS);
    }
    let options = Options::read(words)?;
    let mut operands = options.operands.iter();
    let file = match options.show {
        true => None,
        false => operands.next(),
    };
    let user = operands.next().ok_or_else(|| usage("the user is missing"))?;
    if user.is_empty() || user.contains([':', '\n', '\r']) {
        return Err(CliError::Invalid(format!(
            "{NAME}: {user:?} is no name of a user"
        )));
    }
    let before = match file {
        Some(path) if !options.create => fs::read_to_string(path)
            .map_err(|error| CliError::Invalid(format!("{NAME}: {error}: make it with -c")))?,
        _ => String::new(),
    };
    if options.delete {
        let after = others(&before, user);
        if after == before {
            return Err(CliError::Invalid(format!("{NAME}: there is no user {user}")));
        }
        write(file, &after)?;
        return Ok(ExitStatus::SUCCESS);
    }
    let password = match operands.next() {
        Some(password) => password.clone(),
        None => ask(&options)?,
    };
    if options.verify {
        let known = before
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{user}:")));
        let known = known.ok_or_else(|| CliError::Invalid(format!("{NAME}: there is no user {user}")))?;
        if !bcrypt::verify(&password, known.trim()).unwrap_or(false) {
            return Err(CliError::Invalid(format!(
                "{NAME}: the password of {user} is another"
            )));
        }
        Printer.warn(&format!("Password for user {user} correct."));
        return Ok(ExitStatus::SUCCESS);
    }
    if password.len() > MAX_PASSWORD || password.contains('\0') {
        return Err(CliError::Invalid(format!(
            "{NAME}: a password has at most {MAX_PASSWORD} bytes, none of them zero"
        )));
    }
    let hash = bcrypt::hash_with_result(&password, options.cost.unwrap_or(10))
        .map_err(|error| CliError::Invalid(format!("{NAME}: {error}")))?
        .format_for_version(bcrypt::Version::TwoY);
    let line = format!("{user}:{hash}\n");
    match file {
        None => Printer.out(&line),
        Some(_) => {
            let is_new = !before.lines().any(|there| there.starts_with(&format!("{user}:")));
            write(file, &(others(&before, user) + &line))?;
            let what = if is_new { "Adding" } else { "Updating" };
            Printer.warn(&format!("{what} password for user {user}"));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

/// The lines that are not the user's.
fn others(text: &str, user: &str) -> String {
    let own = format!("{user}:");
    let others = text.lines().filter(|line| !line.starts_with(&own));
    others.map(|line| format!("{line}\n")).collect()
}

/// All of it or nothing, for none but its owner.
fn write(file: Option<&String>, text: &str) -> Result<(), CliError> {
    let Some(file) = file else { return Ok(()) };
    let path = std::path::absolute(file)?;
    let folder = path.parent().unwrap_or(&path);
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    if let Ok(status) = fs::metadata(&path) {
        aside.as_file().set_permissions(status.permissions())?;
    }
    aside.write_all(text.as_bytes())?;
    aside.as_file().sync_all()?;
    aside.persist(&path).map_err(io::Error::from)?;
    Ok(())
}

fn ask(options: &Options) -> Result<String, CliError> {
    if options.input || !io::stdin().is_terminal() {
        let mut password = String::new();
        io::stdin().take(1 << 16).read_to_string(&mut password)?;
        return Ok(password.lines().next().unwrap_or_default().to_owned());
    }
    let hidden = |question: &str| read_hidden_line(|| Printer.err_bytes(question.as_bytes()));
    let password = hidden("New password: ")?;
    if !options.verify && hidden("Re-type new password: ")? != password {
        return Err(CliError::Invalid(format!("{NAME}: the passwords differ")));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Options, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Options::read(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn options() {
        let options = read("-Bbn me secret").expect("options");
        assert!(options.show && options.given && !options.create);
        assert_eq!(options.operands, ["me", "secret"]);
        assert_eq!(read("-cBC5 file me").expect("options").cost, Some(5));
        assert_eq!(read("-B -C 12 file me").expect("options").cost, Some(12));
        assert_eq!(
            read("-b file me -secret").expect("options").operands[2],
            "-secret"
        );
        for (words, named) in [
            ("-Bbn me", "2 words"),
            ("-B file", "2 words"),
            ("-m file me", "-m"),
            ("-C 99 file me", "-C"),
            ("-x file me", "-x"),
            ("-nc me", "-n"),
        ] {
            let error = read(words).expect_err(words);
            assert!(error.contains(named), "{words}: {error}");
        }
    }

    #[test]
    fn lines_of_others_stay() {
        assert_eq!(others("a:1\nab:2\nb:3\n", "a"), "ab:2\nb:3\n");
    }
}
