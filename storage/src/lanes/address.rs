//! Separates the part of a server's address that may hold a password from the rest.
//!
//! Called first by each engine that reads an address. Invariant: an accepted address has at
//! most one `@`, and the part before it is user and password. So no parser can mistake part of
//! a password for a host, a database or a parameter, and show it. No message here shows any
//! part of an address.

/// Where the parts of an address are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// As far as the `?`.
    pub(crate) start: &'a str,
    /// What comes after it.
    pub(crate) query: &'a str,
}

/// Takes an address apart.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(crate) fn parts(url: &str) -> Result<Parts<'_>, &'static str> {
    // Right after the engine's name, not anywhere.
    let rest = url.split_once(':').map_or("", |(_, rest)| rest);
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("it names no host");
    };
    if rest.matches('@').count() > 1 {
        return Err(
            "it has more than one @, so it cannot be told where the password ends: write %40 for \
             each @ in a user, a password or a parameter",
        );
    }
    let after_user = rest.find('@').map_or(0, |at| at + 1);
    if rest[..after_user].contains(['/', '?', '#']) {
        return Err(
            "a /, ? or # stands before the @: in a user or a password write %2F for /, %3F for ?, \
             %23 for #",
        );
    }
    if rest.chars().any(|c| c.is_control() || c == ' ') {
        return Err("it has a space or a line break in it: write %20 for a space");
    }
    // None stands before the @.
    let (start, query) = url.split_once('?').unwrap_or((url, ""));
    Ok(Parts { start, query })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(feature = "mysql", feature = "postgres"))]
    /// As each engine says it, through its own reader.
    #[test]
    fn each_engine_refuses_them_with_the_advice() {
        for rest in [
            "bot:Secret1@Part2@host/db",
            "bot:Secret1/Part2@host/db",
            "bot:Secret1@Part2",
        ] {
            let readers = [
                crate::postgres::Server::parse(&format!("postgres://{rest}"))
                    .map(|s| s.to_string()),
                crate::mysql::Server::parse(&format!("mysql://{rest}")).map(|s| s.to_string()),
                crate::mysql::Server::parse(&format!("mariadb://{rest}")).map(|s| s.to_string()),
            ];
            for read in readers {
                let said = read.map_err(|e| e.to_string());
                let (Ok(said) | Err(said)) = &said;
                assert!(!said.contains("Secret1"), "{said}");
                if rest.contains("host") {
                    assert!(!said.contains("Part2") && said.contains('%'), "{said}");
                }
            }
        }
    }

    #[test]
    fn what_could_show_a_part_of_a_password_is_refused() {
        for (url, advice) in [
            ("x://bot:Secret1@Part2@host/db", "%40"),
            ("x://bot:Secret1@Part2@host", "%40"),
            ("x://bot@Secret1:Part2@host/db", "%40"),
            ("x://bot:Secret1/Part2@host/db", "%2F"),
            ("x://bot:Secret1?Part2=1@host/db", "%3F"),
            ("x://bot:Secret1#Part2@host/db", "%23"),
            ("x://bot:Secret1@Part2/x@host/db", "%40"),
            ("x://bot:Secret1@host/db?application_name=a@b", "%40"),
            ("x://host/db?user=bot&password=Secret1@Part2", "%2F"),
            ("x://bot:Secret1 Part2@host/db", "%20"),
            ("x:bot:Secret1@host/db", "no host"),
            ("Secret1", "no host"),
            ("x:bot:Secret1=x@host://", "no host"),
        ] {
            let why = parts(url).unwrap_err();
            assert!(why.contains(advice), "{url}: {why}");
        }
        for (url, query) in [
            ("x://bot:Secret%401@host/db", ""),
            (
                "x://bot:a:b,c;d&e=f+g%h!@host:1,other:2/db?pool=4",
                "pool=4",
            ),
            ("x://host/db?a=b?c", "a=b?c"),
            ("x://host", ""),
        ] {
            let parts = parts(url).unwrap();
            assert_eq!(parts.query, query);
            assert!(url.starts_with(parts.start));
        }
    }
}
