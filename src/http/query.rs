//! Query parameters, and the pages of a list.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Serialize;

use crate::http::answer::{Problem, Reply, fitting};
use crate::http::shorten::shortened;

/// The default number of items of a page.
const USUAL: usize = 100;
/// The largest offset.
pub(super) const FARTHEST: usize = u32::MAX as usize;
/// The maximum number of items of a page.
const MOST: usize = 1_000;

/// The maximum size of an unknown name in a response, in bytes.
const SHOWN_NAME: usize = 64;

/// The decoded pairs of a query.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The pairs of the text after the question mark. A duplicate name is an error when it is read.
    pub(super) fn parse(text: &str) -> Query {
        Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The value of a name; empty counts as absent.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.raw(name)?.filter(|value| !value.is_empty()))
    }

    /// Refuses names other than these.
    pub(super) fn check_names(&self, known: &[&str]) -> Result<(), Problem> {
        let is_unknown = |(name, _): &&(String, String)| !known.contains(&name.as_str());
        let Some((unknown, _)) = self.0.iter().find(is_unknown) else {
            return Ok(());
        };
        let unknown = shortened(unknown, SHOWN_NAME);
        let takes = match known {
            [] => "takes none".to_owned(),
            names => format!("takes {}", names.join(", ")),
        };
        Err(Problem::bad_request(format!("unknown query parameter {unknown:?}; this request {takes}")))
    }

    fn raw(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            Some(_) => Err(Problem::bad_request(format!("{name} is given twice"))),
            None => Ok(first),
        }
    }

    /// The value of a required name.
    pub(super) fn need(&self, name: &str) -> Result<&str, Problem> {
        self.get(name)?.ok_or_else(|| Problem::bad_request(format!("{name} is missing")))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Problem::bad_request(format!("{name} must be true or false"))),
        }
    }

    /// A number from 0 to `most`; `usual` is the default.
    pub(super) fn number(&self, name: &str, usual: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.raw(name)? else { return Ok(usual) };
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        number
            .filter(|number| *number <= most)
            .ok_or_else(|| Problem::bad_request(format!("{name} must be a number from 0 to {most}")))
    }
}

/// The requested part and order of a list.
#[derive(Debug)]
pub(super) struct Page {
    offset: usize,
    limit: usize,
    search: String,
    sort: Option<String>,
    descending: bool,
}

/// A part of a list.
#[derive(Serialize)]
struct List<T> {
    total: usize,
    offset: usize,
    items: Vec<T>,
    /// Whether the response has no room for all of the requested items.
    truncated: bool,
}

impl Page {
    /// The page that a query requests; `sorts` are the allowed sort keys.
    pub(super) fn of(query: &Query, sorts: &[&str]) -> Result<Page, Problem> {
        let sort = query.get("sort")?;
        if let Some(sort) = sort.filter(|sort| !sorts.contains(sort)) {
            let names = sorts.join(", ");
            return Err(Problem::bad_request(format!("sort must be one of {names}, not {sort:?}")));
        }
        let descending = match query.get("order")? {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(Problem::bad_request("order must be asc or desc")),
        };
        Ok(Page {
            offset: query.number("offset", 0, FARTHEST)?,
            limit: query.number("limit", USUAL, MOST)?,
            search: query.get("search")?.unwrap_or_default().to_lowercase(),
            sort: sort.map(str::to_owned),
            descending,
        })
    }

    /// Whether the search text occurs in one of the texts, ignoring case.
    pub(super) fn finds(&self, texts: &[&str]) -> bool {
        self.search.is_empty() || texts.iter().any(|text| lowered(text).contains(&self.search))
    }

    /// The sort key.
    pub(super) fn sort(&self) -> Option<&str> {
        self.sort.as_deref()
    }

    /// The search text in lower case.
    pub(super) fn search(&self) -> &str {
        &self.search
    }

    /// Sorts all items, and converts those of the page with `show`.
    pub(super) fn cut<T, S: Serialize>(
        &self,
        mut all: Vec<T>,
        mut compare: impl FnMut(&T, &T) -> Ordering,
        show: impl FnMut(T) -> S,
    ) -> Result<Reply, Problem> {
        // No two items are equal: `compare` ends with a unique key.
        all.sort_unstable_by(|a, b| if self.descending { compare(b, a) } else { compare(a, b) });
        let total = all.len();
        let (items, truncated) = fitting(all.into_iter().skip(self.offset).take(self.limit).map(show))?;
        Reply::json(&List { total, offset: self.offset, items, truncated })
    }
}

fn lowered(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        true => text.to_lowercase().into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, Query};

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("a=x%2Fy+z&b=&c&d=1&d=2&%C3%BC=%C3%9C");
        assert_eq!(query.get("a").unwrap(), Some("x/y z"));
        assert_eq!(
            (query.get("b").unwrap(), query.get("c").unwrap(), query.get("e").unwrap()),
            (None, None, None)
        );
        assert_eq!(query.get("ü").unwrap(), Some("Ü"));
        assert!(query.get("d").is_err() && query.need("e").is_err());
    }

    #[test]
    fn numbers_are_bounded() {
        let number = |text: &str| Query::parse(text).number("n", 7, 100);
        assert_eq!((number("").unwrap(), number("n=0").unwrap(), number("n=100").unwrap()), (7, 0, 100));
        for wrong in ["n=", "n=101", "n=-1", "n=+1", "n=1.0", "n=x", "n=99999999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_is_sorted_and_cut() {
        let page = |text: &str| Page::of(&Query::parse(text), &["name"]);
        let cut = |text: &str| {
            let answer = page(text).unwrap().cut(vec![3, 1, 2], Ord::cmp, |n| n * 10).unwrap();
            String::from_utf8(answer.body.to_vec()).unwrap()
        };
        assert_eq!(cut(""), r#"{"total":3,"offset":0,"items":[10,20,30],"truncated":false}"#);
        assert_eq!(cut("order=desc&limit=1"), r#"{"total":3,"offset":0,"items":[30],"truncated":false}"#);
        assert_eq!(cut("offset=2"), r#"{"total":3,"offset":2,"items":[30],"truncated":false}"#);
        assert_eq!(cut("offset=9"), r#"{"total":3,"offset":9,"items":[],"truncated":false}"#);
        assert_eq!(page("").unwrap().sort(), None);
        assert_eq!(page("sort=name").unwrap().sort(), Some("name"));
        for wrong in ["sort=size", "order=up", "limit=1001"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
        let page = page("search=%C3%84b").unwrap();
        assert!(page.finds(&["x", "xäBx"]) && !page.finds(&["ab"]));
    }
}
