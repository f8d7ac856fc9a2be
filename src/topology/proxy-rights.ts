/**
 * What the users of proxies may do on a node: the words that `ACL SETUSER` gets behind the password.
 *
 * Everything, without what administrates a node or is dangerous to it; of that is given back, singly, what the proxy
 * itself says and what it passes on for clients. Nobody of these may replicate (`psync`, `sync`, `replconf`), change
 * users, settings or roles, or listen to what others send. `AUTH`, `HELLO`, `RESET` and `QUIT` cannot be forbidden by
 * Redis: the proxy never passes them on.
 */
export const PROXY_RIGHTS: readonly string[] = [
  '~*',
  '&*',
  '+@all',
  '-@admin',
  '-@dangerous',
  // What the proxy says for itself: the login, the barrier, the end of a wait.
  '+info',
  '+role',
  '+client|unblock',
  // What it passes on.
  '+keys',
  '+flushall',
  '+flushdb',
  '+sort',
  '+sort_ro',
  '+restore',
  '+restore-asking',
  '+lastsave',
  '+pfselftest',
  '+pfdebug',
  '+config|get',
  '+config|resetstat',
  '+latency|doctor',
  '+latency|graph',
  '+latency|histogram',
  '+latency|history',
  '+latency|latest',
  '+latency|reset',
];

/**
 * The same for proxies that read from a replica: the login, and reading by key. Walks over all keys stay with primaries,
 * and so does whatever may write unseen.
 */
export const READER_RIGHTS: readonly string[] = [
  '%R~*',
  'resetchannels',
  '+@read',
  '-@dangerous',
  '+info',
  '+sort_ro',
  '+ping',
  '+select',
  '+client|id',
  '+client|setname',
];
