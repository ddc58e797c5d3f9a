//! The two sides: a runtime of one thread each, in one process.

use std::future::Future;
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A `current_thread` runtime on a thread of its own.
pub(crate) struct Side {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Side {
    pub(crate) fn new(name: &str) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, handle) = mpsc::channel();
        let work = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            tell.send(runtime.handle().clone()).expect("somebody waits");
            runtime.block_on(async { stopped.await.ok() });
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        let thread = Some(thread.expect("a thread"));
        Self { handle: handle.recv().expect("it was made"), stop: Some(stop), thread }
    }

    /// Does `work` there and waits for its end.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.begin(work).recv().expect("no panic on that side")
    }

    /// Does `work` there; the end can be waited for.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (done, answer) = mpsc::channel();
        drop(self.handle.spawn(async move { done.send(work.await).ok() }));
        answer
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Client and server.
pub(crate) struct Sides {
    pub(crate) client: Side,
    pub(crate) server: Side,
}

impl Sides {
    pub(crate) fn new() -> Self {
        Self { client: Side::new("client"), server: Side::new("server") }
    }
}
