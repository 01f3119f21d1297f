//! What a [`Runtime`](crate::Runtime) is made from. Plain values with working defaults; knows
//! neither flags nor files of configuration.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`Runtime`](crate::Runtime). Start from [`Config::new`] and change fields.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the AOT cache. Created with mode 0700; only code that this runtime compiled
    /// is ever loaded from it.
    pub cache_dir: PathBuf,
    /// Size of the AOT cache in bytes, at most; what was used least recently goes first.
    pub max_cache_bytes: u64,
    /// How to run the compiler: our own executable with a hidden subcommand, normally.
    pub compiler: CompilerCommand,
    /// Instances alive at once, at most. Cut down to what `vm.max_map_count` allows.
    pub max_instances: u32,
    /// Threads that run guests. Zero means one per available core.
    pub worker_threads: usize,
    /// Bounds on one compilation.
    pub compile_limits: CompileLimits,
    /// Compilations at once; zero means half of the cores, at least one.
    pub compile_parallelism: usize,
    /// Modules kept loaded without any container using them.
    pub max_cached_modules: usize,
    /// Bounds on the requests that one HTTP container serves.
    pub http: HttpLimits,
}

impl Config {
    /// The defaults, for a cache at `cache_dir` and this way to run the compiler.
    pub fn new(cache_dir: impl Into<PathBuf>, compiler: CompilerCommand) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            max_cache_bytes: 4 << 30,
            compiler,
            max_instances: 12_000,
            worker_threads: 0,
            compile_limits: CompileLimits::default(),
            compile_parallelism: 0,
            max_cached_modules: 256,
            http: HttpLimits::default(),
        }
    }
}

/// The command that runs [`compile_child_main`](crate::compile_child_main); the path of a job
/// file is appended as the last argument.
#[derive(Debug, Clone)]
pub struct CompilerCommand {
    /// Absolute path of the executable.
    pub program: PathBuf,
    /// Arguments before the job file.
    pub args: Vec<String>,
}

impl CompilerCommand {
    /// `program __compile JOB`: what `skiff` itself understands.
    pub fn subcommand(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: vec!["__compile".to_owned()] }
    }

    /// `program TEST --exact --nocapture JOB`: for a test binary under libtest that has a test
    /// function of this full name calling [`compile_child_test`](crate::compile_child_test).
    pub fn libtest(program: impl Into<PathBuf>, test: &str) -> Self {
        let args = [test, "--exact", "--nocapture", "--test-threads=1"];
        Self { program: program.into(), args: args.map(str::to_owned).to_vec() }
    }
}

/// Bounds on one compilation.
#[derive(Debug, Clone)]
pub struct CompileLimits {
    /// Largest module or component accepted, in bytes.
    pub max_module_bytes: u64,
    /// CPU time of the compiler process (`RLIMIT_CPU`), rounded up to seconds.
    pub cpu_time: Duration,
    /// Wall time from start to end of the compiler process.
    pub wall_time: Duration,
    /// Address space of the compiler process in bytes (`RLIMIT_AS`).
    pub memory_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            max_module_bytes: 128 << 20,
            cpu_time: Duration::from_secs(120),
            wall_time: Duration::from_secs(180),
            memory_bytes: 4 << 30,
        }
    }
}

/// Bounds on the requests of one HTTP container.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Instances (requests being served) at once.
    pub max_concurrent: u32,
    /// Requests waiting for an instance; one more is answered 503.
    pub max_queued: u32,
    /// Time from the request's arrival to the guest's response head; beyond it: 504.
    pub head_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { max_concurrent: 64, max_queued: 1024, head_timeout: Duration::from_secs(60) }
    }
}
