//! `midge storage`: what is done with the directory of a store that no broker uses.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use midge::disk::{Directory, ReadDirectory};
use midge::storage::StoreError;
use midge::storage::durable::DurableOptions;
use midge::storage::durable::disk::Disk;
use midge::storage::durable::log::DEFAULT_SIZE;
use midge::storage::durable::tools::{
    BackupOptions, ExportError, ImportOptions, Imported, StoreReport, backup, check, compact, export, import,
};
use midge::time::WallTime;

use crate::arguments::Storage;
use crate::failure::{DAMAGED, Failure};

/// Runs a command of `midge storage`.
pub(crate) fn run(command: &Storage) -> Result<(), Failure> {
    match command {
        Storage::Check { dir } => crate::print(&report(dir, &check(reading(dir)?)?)),
        Storage::Export { dir, file } => export_to(dir, file.as_deref()),
        Storage::Import { dir, file } => {
            let imported = import_from(dir, file)?;
            crate::print(&told(dir, &imported))
        }
        Storage::Compact { dir } => {
            // Of a directory that is not there none is made.
            drop(ReadDirectory::open(dir)?);
            let compacted = compact(Arc::new(Directory::open(dir)?), options()?)?;
            crate::print(&format!(
                "{}: {} bytes before, {} after\n",
                dir.display(),
                compacted.before,
                compacted.after
            ))
        }
        Storage::Backup { dir, to } => {
            let store = reading(dir)?;
            let options = BackupOptions { salt: random()?, log_bytes: DEFAULT_SIZE };
            backup(store, &Directory::open(to)?, &options)?;
            crate::print(&format!("{} is a copy of {}\n", to.display(), dir.display()))
        }
    }
}

fn reading(dir: &Path) -> Result<Arc<dyn Disk>, Failure> {
    Ok(Arc::new(ReadDirectory::open(dir)?))
}

fn options() -> Result<DurableOptions, Failure> {
    Ok(DurableOptions { salt: random()?, log_bytes: DEFAULT_SIZE, now: now(), retry_millis: None })
}

fn export_to(dir: &Path, file: Option<&Path>) -> Result<(), Failure> {
    let store = reading(dir)?;
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        return match export(store, &mut BufWriter::new(io::stdout().lock())) {
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            done => Ok(done?),
        };
    };
    let cannot = |error: io::Error| Failure::runtime(format!("{}: {error}", path.display()));
    let mut out = BufWriter::new(File::create_new(path).map_err(cannot)?);
    export(store, &mut out)?;
    out.into_inner().map_err(|error| cannot(error.into_error()))?.sync_all().map_err(cannot)
}

fn import_from(dir: &Path, file: &PathBuf) -> Result<Imported, Failure> {
    let options = ImportOptions { salt: random()?, log_bytes: DEFAULT_SIZE, now: now() };
    let named = |cause: String| Failure::runtime(format!("{}: {cause}", file.display()));
    if file == Path::new("-") {
        let done = import(&Directory::open(dir)?, &mut io::stdin().lock(), &options);
        return done.map_err(|error| Failure::runtime(format!("the standard input: {error}")));
    }
    // Before the directory is made.
    let mut from = BufReader::new(File::open(file).map_err(|error| named(error.to_string()))?);
    import(&Directory::open(dir)?, &mut from, &options).map_err(|error| match error {
        midge::storage::durable::tools::ImportError::Store(error) => error.into(),
        error => named(error.to_string()),
    })
}

fn told(dir: &Path, imported: &Imported) -> String {
    let Imported { retained, sessions, deliveries, left_out } = imported;
    let mut text = format!(
        "{}: {retained} retained messages, {sessions} sessions, {deliveries} messages that wait\n",
        dir.display()
    );
    if *left_out > 0 {
        text.push_str(&format!("left out: {left_out} messages of sessions that end, or with QoS 0\n"));
    }
    text
}

/// The report in lines.
fn report(dir: &Path, report: &StoreReport) -> String {
    let mut lines = vec![format!("{} is in order", dir.display())];
    let mut line = |name: &str, text: String| lines.push(format!("  {:<15}{text}", format!("{name}:")));
    let StoreReport { sessions, connected, subscriptions, wills, .. } = report;
    line(
        "sessions",
        format!("{sessions}, {subscriptions} subscriptions, {wills} wills, {connected} not yet disconnected"),
    );
    let StoreReport { queued, in_flight, received, delivery_bytes, .. } = report;
    line(
        "messages",
        format!("{queued} queued, {in_flight} in flight, {delivery_bytes} bytes; {received} to be released"),
    );
    line("retained", format!("{} messages, {} bytes", report.retained, report.retained_bytes));
    line(
        "log",
        format!("{} records that the tables do not have, {} bytes", report.log_records, report.log_bytes),
    );
    if let Some(torn) = &report.torn {
        let what = "ends in a record that was never acknowledged, at byte";
        line("", format!("{} {what} {}", torn.file, torn.offset));
    }
    for (name, bytes) in &report.files {
        line("file", format!("{name}, {bytes} bytes"));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::runtime(format!("the system gives no random number: {error}")))?;
    Ok(bytes)
}

fn now() -> WallTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let code = if error.is_damage() { DAMAGED } else { crate::failure::RUNTIME };
        Failure::new(code, error.to_string())
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::Store(error) => error.into(),
            error => Failure::runtime(error.to_string()),
        }
    }
}
