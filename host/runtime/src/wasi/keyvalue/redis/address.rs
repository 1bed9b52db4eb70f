//! Where a Redis is, as one URL says it. Pure.
//!
//! *Source:* the URI schemes `redis` and `rediss` as registered with IANA.

/// The port of a Redis that names none.
const PORT: u16 = 6379;

/// Bytes of a URL: a name, a password, and what a percent sign makes of them.
pub(super) const URL_BYTES_MAX: usize = 4096;

/// Where a Redis is, and as whom to speak to it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// The user, if it is not the default one.
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The database's number.
    pub(super) database: u32,
}

impl std::fmt::Debug for Address {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

/// Reads `redis://[[user]:password@]host[:port][/database]`; `rediss` is the same over TLS.
///
/// # Errors
/// What is wrong with it, without its text: that has a password.
pub(super) fn parse(url: &str) -> Result<Address, &'static str> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").ok_or("it must begin with redis:// or rediss://")?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _other => return Err("it must begin with redis:// or rediss://"),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| "its path must be the number of a database")?,
    };
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let (host, port) = host_and_port(place)?;
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        None => (None, None),
        Some((user, password)) => (filled(user)?, filled(password)?),
    };
    if user.is_some() && password.is_none() {
        return Err("a user must have a password");
    }
    Ok(Address { host, port, is_tls, user, password, database })
}

fn host_and_port(place: &str) -> Result<(String, u16), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("its address lacks a ]")?;
            (host, after.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err("it must name a host");
    }
    let port = port.map_or(Ok(PORT), str::parse).map_err(|_| "its port must be a number")?;
    Ok((host.to_owned(), port))
}

/// What is written with percent signs, if it is not empty.
fn filled(text: &str) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "a percent sign must be followed by two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().ok_or(WRONG)?, rest.next().ok_or(WRONG)?];
            let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
            let value = (high.ok_or(WRONG)? << 4) | low.ok_or(WRONG)?;
            bytes.push(u8::try_from(value).map_err(|_| WRONG)?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "a name or password must be UTF-8")?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, want: &str) {
        let shown = match parse(url) {
            Ok(at) => format!(
                "{}:{}/{} {} {:?} {:?}",
                at.host, at.port, at.database, at.is_tls, at.user, at.password
            ),
            Err(wrong) => wrong.to_owned(),
        };
        assert_eq!(shown, want, "{url}");
    }

    #[test]
    fn urls_say_where_and_as_whom() {
        check("redis://cache\n", "cache:6379/0 false None None");
        check("rediss://cache.shop.svc:6380/3", "cache.shop.svc:6380/3 true None None");
        check("redis://:s%40fe%2F@cache", "cache:6379/0 false None Some(\"s@fe/\")");
        check("redis://shop:a@b@[fd00::1]:7", "fd00::1:7/0 false Some(\"shop\") Some(\"a@b\")");
        check("http://cache", "it must begin with redis:// or rediss://");
        check("cache:6379", "it must begin with redis:// or rediss://");
        check("redis://", "it must name a host");
        check("redis://cache:x", "its port must be a number");
        check("redis://cache/x", "its path must be the number of a database");
        check("redis://shop@cache", "a user must have a password");
        check("redis://:%4@cache", "a percent sign must be followed by two hexadecimal digits");
        check("redis://[fd00::1", "its address lacks a ]");
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", parse("redis://:secret@cache").unwrap());
        assert_eq!(shown, "cache:6379/0");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "(rediss?://)?.{0,40}") {
            let _ = parse(&text);
        }
    }
}
