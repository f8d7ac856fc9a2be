/**
 * The name of the function library by which Ringside marks the data of a shard (rules R4 and R10), and of what it holds.
 *
 * It is replicated, saved and lost together with the data, and is no key. Supervisors load and read it; proxies neither
 * show it nor let clients touch it.
 */
export const MARK_LIBRARY = 'ringside_mark';
