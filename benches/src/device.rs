//! Where the lanes write: a directory on a real block device.

use std::path::{Path, PathBuf};

/// A directory of this process, removed at the end.
pub struct Place {
    root: PathBuf,
    /// Device and type of the file system.
    pub device: String,
    /// Whether a sync there means anything.
    pub durable: bool,
}

impl Place {
    /// `QUORATE_BENCH_DIR`, or the directory this program was built into.
    pub fn new() -> Self {
        let built = std::env::current_exe().ok();
        let built = built.and_then(|exe| exe.parent().map(Path::to_path_buf));
        let chosen = std::env::var_os("QUORATE_BENCH_DIR").map(PathBuf::from);
        let base = chosen.or(built).expect("a directory to measure in");
        let root = base.join(format!("quorate-bench-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("a writable directory");
        let root = root.canonicalize().expect("it was just made");
        let (device, kind) = mount_of(&root);
        let durable = !matches!(kind.as_str(), "tmpfs" | "ramfs");
        Self { root, device: format!("{device} ({kind})"), durable }
    }

    /// An empty directory inside it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.root.join(name);
        std::fs::remove_dir_all(&dir).ok();
        std::fs::create_dir_all(&dir).expect("a writable directory");
        dir
    }

    /// Where a directory of this name is or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Gives room back before the end.
    pub fn remove(&self, name: &str) {
        std::fs::remove_dir_all(self.root.join(name)).ok();
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.root).ok();
    }
}

/// Device and type of the file system that `path` is on: the longest mount point above it.
fn mount_of(path: &Path) -> (String, String) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|f| f.len() > 2 && path.starts_with(f[1]));
    let nearest = above.max_by_key(|f| f[1].len());
    nearest.map_or_else(
        || ("unknown device".to_owned(), "unknown".to_owned()),
        |f| (f[0].to_owned(), f[2].to_owned()),
    )
}

/// Bytes in use under `dir`: of each file up to its last byte that is not zero, so that files
/// made longer in advance count for what was written.
pub fn used_bytes(dir: &Path) -> u64 {
    let items = std::fs::read_dir(dir).expect("readable").map(|item| item.expect("readable"));
    let used = |path: PathBuf| {
        if path.is_dir() {
            return used_bytes(&path);
        }
        // A file may go, or get another name, meanwhile.
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    items.map(|item| used(item.path())).sum()
}

/// The load of the last minute, as the system tells it.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
