;; Runs for ever and never calls the host: only an interrupt ends it.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
