//! A large subscription table whose matches are known exactly.
//!
//! Topics are the leaves of a tree w/rA/sB/bC/dD/kE. Each client holds filters of
//! ONE form only (exact, one of the + forms, one of the # forms), so that no
//! topic matches two filters of the same client: whether a broker delivers once
//! or twice for overlapping filters, which MQTT leaves open, makes no difference,
//! and every (client, filter) pair that matches is exactly one delivery.

use std::io::Write;

use serde_json::json;

use crate::args;
use crate::flow::{self, Plan, Shape, Topics};
use crate::report::{Report, r2};

/// Children per node below the root, but for the sites, whose number fits the table.
const REGIONS: usize = 8;
const BUILDINGS: usize = 8;
const DEVICES: usize = 8;
const KINDS: usize = 4;
const PER_SITE: usize = REGIONS * BUILDINGS * DEVICES * KINDS;

/// The number of a node's branch at each level.
type Levels = [usize; 5];

/// A form of filter: which levels it names; the rest are + or, with `hash`,
/// everything below.
struct Form {
    named: [bool; 5],
    hash: bool,
    /// Part of its class (exact, +, #).
    class: usize,
    share: f64,
}

const FORMS: [Form; 8] = [
    Form { named: [true, true, true, true, true], hash: false, class: 0, share: 1.0 },
    Form { named: [false, true, true, true, true], hash: false, class: 1, share: 0.3 },
    Form { named: [true, true, false, true, true], hash: false, class: 1, share: 0.3 },
    Form { named: [true, true, true, false, true], hash: false, class: 1, share: 0.2 },
    Form { named: [true, true, true, true, false], hash: false, class: 1, share: 0.15 },
    Form { named: [false, true, false, true, true], hash: false, class: 1, share: 0.05 },
    Form { named: [true, true, true, true, false], hash: true, class: 2, share: 0.85 },
    Form { named: [true, true, true, false, false], hash: true, class: 2, share: 0.15 },
];

struct Tree {
    sites: usize,
}

impl Tree {
    fn sizes(&self) -> Levels {
        [REGIONS, self.sites, BUILDINGS, DEVICES, KINDS]
    }

    fn leaves(&self) -> usize {
        PER_SITE * self.sites
    }

    fn leaf(&self, mut n: usize) -> Levels {
        let mut l = [0; 5];
        for (at, size) in self.sizes().iter().enumerate().rev() {
            l[at] = n % size;
            n /= size;
        }
        l
    }
}

impl Form {
    /// How many filters of this form there are.
    fn filters(&self, t: &Tree) -> usize {
        (0..5).filter(|i| self.named[*i]).map(|i| t.sizes()[i]).product()
    }

    /// The one filter of this form that matches a leaf.
    fn matching(&self, t: &Tree, leaf: &Levels) -> usize {
        (0..5).filter(|i| self.named[*i]).fold(0, |n, i| n * t.sizes()[i] + leaf[i])
    }

    fn write(&self, t: &Tree, mut n: usize, out: &mut Vec<u8>) {
        let mut l = [0; 5];
        for i in (0..5).rev().filter(|i| self.named[*i]) {
            l[i] = n % t.sizes()[i];
            n /= t.sizes()[i];
        }
        out.extend_from_slice(b"w");
        for (i, letter) in ['r', 's', 'b', 'd', 'k'].iter().enumerate() {
            if self.named[i] {
                let _ = write!(out, "/{letter}{}", l[i]);
            } else if self.hash {
                out.extend_from_slice(b"/#");
                return;
            } else {
                out.extend_from_slice(b"/+");
            }
        }
    }
}

/// Who subscribes to what: per form, (filter, client) sorted by filter.
struct Table {
    tree: Tree,
    pairs: Vec<Vec<(u32, u32)>>,
}

impl Table {
    fn build(subs: usize, clients: usize, mix: &[f64], matches: f64) -> Result<Table, String> {
        let sum: f64 = mix.iter().sum();
        if mix.len() != 3 || sum <= 0.0 || mix.iter().any(|m| *m < 0.0) {
            return Err("--mix takes three shares: exact,plus,hash".into());
        }
        let share = |f: &Form| mix[f.class] / sum * f.share;
        // The number of sites gives the wanted mean of matches per leaf.
        let one = Tree { sites: 1 };
        let per_leaf: f64 = FORMS.iter().map(|f| subs as f64 * share(f) / f.filters(&one) as f64).sum();
        let tree = Tree { sites: ((per_leaf / matches).round() as usize).max(1) };

        let mut counts: Vec<usize> = FORMS.iter().map(|f| (subs as f64 * share(f)) as usize).collect();
        let biggest = (0..FORMS.len()).max_by_key(|i| counts[*i]).unwrap();
        counts[biggest] += subs - counts.iter().sum::<usize>();
        // Clients per form: as many as its filters need, the rest in proportion.
        let need: Vec<usize> = FORMS.iter().zip(&counts).map(|(f, c)| c.div_ceil(f.filters(&tree))).collect();
        let least: usize = need.iter().sum();
        if least > clients {
            return Err(format!(
                "{subs} subscriptions with {matches} matches a topic need {least} --clients"
            ));
        }
        let mut heads: Vec<usize> =
            (0..FORMS.len()).map(|i| need[i] + (clients - least) * counts[i] / subs).collect();
        heads[biggest] += clients - heads.iter().sum::<usize>();

        let mut pairs = Vec::new();
        let mut first = 0;
        for (i, form) in FORMS.iter().enumerate() {
            let (n, h) = (counts[i], heads[i]);
            let space = form.filters(&tree) * h;
            let stride = coprime_stride(space);
            let mut p: Vec<(u32, u32)> = (0..n)
                .map(|j| {
                    let q = (j as u128 * stride as u128 % space as u128) as usize;
                    ((q / h) as u32, (first + q % h) as u32)
                })
                .collect();
            p.sort_unstable();
            pairs.push(p);
            first += h;
        }
        Ok(Table { tree, pairs })
    }

    /// The clients that get a message published to this leaf.
    fn receivers<'a>(&'a self, leaf: &'a Levels) -> impl Iterator<Item = u32> + 'a {
        FORMS.iter().zip(&self.pairs).flat_map(move |(form, p)| {
            let f = form.matching(&self.tree, leaf) as u32;
            let at = p.partition_point(|x| x.0 < f);
            p[at..].iter().take_while(move |x| x.0 == f).map(|x| x.1)
        })
    }

    /// Per client, its (form, filter) list.
    fn by_client(&self, clients: usize) -> Vec<Vec<(u8, u32)>> {
        let mut all = vec![Vec::new(); clients];
        for (form, p) in self.pairs.iter().enumerate() {
            for (f, c) in p {
                all[*c as usize].push((form as u8, *f));
            }
        }
        all
    }
}

/// About 0.618 of n and without a common divisor, so that its multiples visit
/// all of 0..n spread out.
fn coprime_stride(n: usize) -> usize {
    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let mut s = ((n as f64 * 0.618_033_988_75) as usize).max(1);
    while gcd(s, n.max(1)) != 1 {
        s += 1;
    }
    s
}

pub fn run(a: &args::Wild, rep: &mut Report) -> Result<(), String> {
    let clients = a.clients as usize;
    let table = Table::build(a.subscriptions, clients, &a.mix, a.matches)?;
    let leaves = table.tree.leaves();

    // The topics published to: a spread sample of the leaves that match anything.
    let stride = coprime_stride(leaves);
    let mut topics = Topics { names: vec![], matches: vec![], published: vec![], random: true };
    let mut sample = Vec::new();
    for j in 0..leaves {
        if sample.len() == a.topics {
            break;
        }
        let leaf = table.tree.leaf((j as u128 * stride as u128 % leaves as u128) as usize);
        let k = table.receivers(&leaf).count() as u32;
        if k == 0 {
            continue;
        }
        let mut name = Vec::new();
        FORMS[0].write(&table.tree, FORMS[0].matching(&table.tree, &leaf), &mut name);
        topics.names.push(name);
        topics.matches.push(k);
        sample.push(leaf);
    }
    if sample.is_empty() {
        return Err("no topic matches any subscription".into());
    }
    topics.published = vec![0; sample.len()];
    let mean = topics.matches.iter().map(|k| *k as f64).sum::<f64>() / sample.len() as f64;
    rep.set(
        "table",
        json!({
            "subscriptions": a.subscriptions,
            "clients": clients,
            "publishers": a.publishers,
            "leaf_topics": leaves,
            "sampled_topics": sample.len(),
            "matches_mean": r2(mean),
            "matches_max": topics.matches.iter().max(),
        }),
    );

    let by_client = table.by_client(clients);
    let mut filter = Vec::new();
    let per_packet = a.per_packet.max(1);
    let qos = a.common.qos;
    let mut fill = |k: usize, seq: usize, packet: &mut crate::mqtt::Subscribe| {
        for (form, f) in by_client[k].iter().skip(seq * per_packet).take(per_packet) {
            filter.clear();
            FORMS[*form as usize].write(&table.tree, *f as usize, &mut filter);
            packet.add(&filter, qos);
        }
    };
    let shape = Shape { publishers: a.publishers, subscribers: clients, topics, flows_per_subscriber: 0 };
    let plan = Plan::new(&a.common, &a.load, &shape, u32::MAX);
    let got = flow::run(&a.common, plan, shape, &mut fill, rep)?;

    // Not only the total: each client got what its own filters match.
    let mut want = vec![0u64; clients];
    for (leaf, n) in sample.iter().zip(&got.published) {
        for c in table.receivers(leaf) {
            want[c as usize] += n;
        }
    }
    let wrong = want.iter().zip(&got.received).filter(|(w, g)| w != g).count();
    rep.set("clients_with_wrong_count", wrong);
    rep.check(wrong == 0, || {
        format!("{wrong} of {clients} clients got another number of messages than they match")
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MQTT topic matching by its definition.
    fn matches(filter: &str, topic: &str) -> bool {
        let (mut f, mut t) = (filter.split('/'), topic.split('/'));
        loop {
            match (f.next(), t.next()) {
                (Some("#"), _) => return true,
                (Some("+"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    #[test]
    fn receivers_agree_with_the_definition() {
        let table = Table::build(6000, 20, &[60.0, 25.0, 15.0], 3.0).unwrap();
        let text = |form: &Form, f: usize| {
            let mut v = vec![];
            form.write(&table.tree, f, &mut v);
            String::from_utf8(v).unwrap()
        };
        let all: Vec<Vec<String>> = table
            .by_client(20)
            .iter()
            .map(|l| l.iter().map(|(form, f)| text(&FORMS[*form as usize], *f as usize)).collect())
            .collect();
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 6000);
        assert!(all.iter().all(|l| !l.is_empty()));
        for l in &all {
            let mut u = l.clone();
            u.sort();
            u.dedup();
            assert_eq!(u.len(), l.len(), "a client holds a filter twice");
        }
        let mut total = 0;
        let leaves = table.tree.leaves();
        for n in (0..leaves).step_by(leaves / 97) {
            let leaf = table.tree.leaf(n);
            let topic = text(&FORMS[0], FORMS[0].matching(&table.tree, &leaf));
            let mut want: Vec<u32> = vec![];
            for (c, l) in all.iter().enumerate() {
                let k = l.iter().filter(|f| matches(f, &topic)).count();
                assert!(k <= 1, "overlapping filters of one client");
                want.extend(std::iter::repeat_n(c as u32, k));
            }
            let mut got: Vec<u32> = table.receivers(&leaf).collect();
            got.sort();
            assert_eq!(got, want, "{topic}");
            total += got.len();
        }
        assert!((200..400).contains(&total), "{total}"); // about 3 per topic
    }
}
