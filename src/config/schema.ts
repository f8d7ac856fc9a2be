import { z } from 'zod';
import { TWEMPROXY_HASHES } from '../ring/twemproxy-hashes.ts';
import { amount, choice, count, duration, expects, flag, hiddenText, hostPort, path, size, text } from './scalars.ts';

/**
 * Every setting there is: its form, range, default and reason, in one place.
 *
 * The types, the check at start, the reference, the sample file and the JSON Schema for editors are all made from this
 * table, so none of them can lag behind. `live: true` marks what a running process takes up; all else needs a restart.
 */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const NAME_WORDS = '1 to 63 letters, digits, dots, dashes and underscores';

const section = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape, expects('a map of settings'));

const file = (what: string) => path(`the path of ${what}`);

const node = section({
  id: text(NAME, NAME_WORDS).describe('Name of the node, for good: a process that is started again keeps it.'),
  address: hostPort().describe('Where proxies and supervisors reach this Redis process.'),
  zone: text(NAME, NAME_WORDS)
    .describe(
      'What fails together, such as a rack or an availability zone. Copies of a shard are kept in different zones.',
    )
    .prefault('default'),
});

const clientTls = section({
  ca: file('a PEM bundle')
    .describe("Authorities that the server's certificate is checked against. Without it: those that Node ships.")
    .optional(),
  cert: file('a PEM certificate').describe('Client certificate, where one is asked for. Needs `key`.').optional(),
  key: file('a PEM key').describe('Key of the client certificate. Needs `cert`.').optional(),
  serverName: text(/^\S+$/, 'a host name')
    .describe("Name that the server's certificate must carry, where that is not the host in its address.")
    .optional(),
});

const nodeAccess = section({
  username: text(/^\S+$/, 'a user name').describe('User of the nodes (ACL).').prefault('default'),
  password: hiddenText(0, 'a password in quotes').describe('Its password; empty: no login.').prefault(''),
  keepDefaultUser: flag()
    .meta({
      description:
        "Leave the nodes' default user on, without the right to replicate or to administrate, for tools that read nodes directly. Otherwise it is switched off, until the node is started again.",
      live: true,
    })
    .prefault(false),
  tls: clientTls.describe('TLS towards the nodes; `{}` is TLS with all defaults. Without it: plain TCP.').optional(),
});

const writeShape = {
  acknowledge: choice(['all', 'primary']).meta({
    description:
      'When a client hears that its write is done: once every in-sync copy has it, or once the primary has it (lost with the primary).',
    live: true,
  }),
  timeout: duration('100ms', '10m', '5s').meta({
    description:
      'How long copies may take before a write answers -UNCERTAIN. At least `supervisor.detect.hung` + 1s, or a lost copy shows as errors.',
    live: true,
  }),
  minimumCopies: count(1, 16).meta({
    description: 'Writes are refused with -NOREPLICAS while fewer copies, the primary included, are in sync.',
    live: true,
  }),
};

const readShape = {
  from: choice(['primary', 'any', 'zone']).meta({
    description:
      'Which copy answers reads: the primary; any in-sync copy; or an in-sync copy in `proxy.zone` where there is one.',
    live: true,
  }),
  strict: flag().meta({
    description:
      'A read answers only what every in-sync copy holds already. Needs `from: primary`; costs a round trip.',
    live: true,
  }),
};

const writes = section({
  acknowledge: writeShape.acknowledge.prefault('all'),
  timeout: writeShape.timeout.prefault('5s'),
  minimumCopies: writeShape.minimumCopies.prefault(1),
});

const reads = section({
  from: readShape.from.prefault('primary'),
  strict: readShape.strict.prefault(false),
});

const rule = section({
  match: text(/^[^\0]+$/, 'a key pattern, such as session:*').describe(
    'Keys that the rule is for, as a pattern of KEYS (*, ?, [a-z], \\).',
  ),
  writes: section({
    acknowledge: writeShape.acknowledge.optional(),
    timeout: writeShape.timeout.optional(),
    minimumCopies: writeShape.minimumCopies.optional(),
  })
    .describe('As `writes`; what is left out is as there.')
    .optional(),
  reads: section({ from: readShape.from.optional(), strict: readShape.strict.optional() })
    .describe('As `reads`; what is left out is as there.')
    .optional(),
});

const placedShards = section({
  count: count(1, 1024).describe('How many shards. By default as many as the nodes make.').optional(),
  copies: count(1, 16)
    .describe('Nodes of one shard, the primary included. By default 3, or fewer where nodes are fewer.')
    .optional(),
  vnodes: count(1, 10_000)
    .describe(
      'Points on the ring per unit of weight. More spread keys more evenly and cost memory; 256 keeps shards within a few percent. Moves keys when changed.',
    )
    .optional(),
});

const namedShard = section({
  name: text(/^[\x21-\x7e]{1,255}$/, '1 to 255 printable characters without a space').describe(
    'Name of the shard. It is what the ring hashes: another name moves keys.',
  ),
  nodes: z
    .array(text(NAME, 'the id of a node'), expects('a list of node ids'))
    .min(1, expects('a list of at least one node id'))
    .describe('Ids of its nodes; the first is the proposed primary.'),
  weight: amount(0, 1_000_000).describe('Share of the ring, in relation to the other shards.').prefault(1),
});

const ring = section({
  like: choice(['twemproxy'])
    .describe("Take over another proxy's ring point for point, so that every key stays where it is.")
    .optional(),
  hash: choice(['murmur3', ...TWEMPROXY_HASHES])
    .describe("How a key becomes a number: murmur3, or with `like: twemproxy` one of twemproxy's (default fnv1a_64).")
    .optional(),
  distribution: choice(['ketama', 'modula'])
    .describe('Only with `like: twemproxy`: how numbers become shards. Default: ketama.')
    .optional(),
  hashTag: z
    .string(expects('two characters (different ones, but with `like: twemproxy`), or "" for none'))
    .meta({ values: 'two characters (different ones, but with `like: twemproxy`), or "" for none' })
    .describe(
      'Only what stands between these two characters is hashed, which brings keys together on one shard. Default: "{}", with `like: twemproxy` none.',
    )
    .optional(),
  vnodes: count(1, 10_000).describe('As `shards.vnodes`, for shards that are named in a list.').optional(),
});

const auth = section({
  username: text(/^\S+$/, 'a user name').describe('User that clients log in as.').prefault('default'),
  password: hiddenText(1, 'a password in quotes').describe('Password that clients must present.'),
});

const serverTls = section({
  cert: file('a PEM certificate').describe('Certificate that clients are shown.'),
  key: file('a PEM key').describe('Its key.'),
  ca: file('a PEM bundle').describe("Authorities that clients' certificates are checked against.").optional(),
  clientCertificates: choice(['none', 'optional', 'required'])
    .describe('Whether clients must prove themselves by a certificate (default: none). Other than none needs `ca`.')
    .prefault('none'),
});

const limits = section({
  clients: count(1, 1_000_000)
    .meta({ description: 'Client connections; one more is answered -OVERLOADED and closed.', live: true })
    .prefault(10_000),
  bulk: size('1kb', '1gb', '512mb')
    .meta({ description: "Longest single argument, as Redis's proto-max-bulk-len.", live: true })
    .prefault('512mb'),
  inline: size('1kb', '64mb', '64kb')
    .meta({ description: 'Longest inline command and longest header line.', live: true })
    .prefault('64kb'),
  arguments: count(1, 16_777_216)
    .meta({ description: 'Most arguments of one command.', live: true })
    .prefault(1_048_576),
  heldBytes: size('1mb', '64gb', '256mb')
    .meta({
      description:
        'Memory for requests that wait in the proxy, all clients together; beyond it they are answered -OVERLOADED. One value of `bulk` is always let in.',
      live: true,
    })
    .prefault('256mb'),
  unreadBytes: size('1kb', '64gb', '64mb')
    .meta({ description: 'Replies that one client leaves unread before it is closed.', live: true })
    .prefault('64mb'),
  laneQueue: count(1, 10_000_000)
    .meta({
      description: 'Commands in flight on one connection to a node; beyond it they are answered -OVERLOADED.',
      live: true,
    })
    .prefault(1_000_000),
  exclusive: count(1, 10_000)
    .meta({
      description:
        "Connections per shard that are lent to one client at a time, for WATCH and blocking commands. Each counts against the node's maxclients.",
      live: true,
    })
    .prefault(512),
});

const slowlog = section({
  over: duration('0ms', '1h', '10ms')
    .meta({
      description:
        'Commands that took so long or longer are kept in the SLOWLOG; 0ms: every one that goes to a single shard.',
      live: true,
    })
    .prefault('10ms'),
  keep: count(0, 100_000).meta({ description: 'How many of them; 0 switches the log off.', live: true }).prefault(128),
});

const LISTEN_WORDS = 'host:port or unix:PATH, such as 127.0.0.1:6379';

const listenAddress = z
  .string(expects(LISTEN_WORDS))
  .regex(/^(unix:.+|.+:\d{1,5})$/, expects(LISTEN_WORDS))
  .transform((address, context) => {
    if (address.startsWith('unix:')) return { kind: 'unix' as const, path: address.slice('unix:'.length) };
    const parsed = hostPort().safeParse(address);
    if (parsed.success) return { kind: 'tcp' as const, ...parsed.data };
    context.addIssue({ code: 'custom', message: parsed.error.issues[0]?.message ?? `expected ${LISTEN_WORDS}` });
    return z.NEVER;
  });

const adminAddress = z
  .string(expects('host:port, or none'))
  .regex(/^(none|.+:\d{1,5})$/, expects('host:port, or none'))
  .transform((address, context) => {
    if (address === 'none') return null;
    const parsed = hostPort().safeParse(address);
    if (parsed.success) return parsed.data;
    context.addIssue({ code: 'custom', message: parsed.error.issues[0]?.message ?? 'expected host:port, or none' });
    return z.NEVER;
  })
  .meta({ values: 'host:port, or none' });

const proxy = section({
  listen: z
    .array(listenAddress, expects(`a list of ${LISTEN_WORDS}`))
    .min(1, expects(`a list of at least one ${LISTEN_WORDS}`))
    .meta({ values: `a list of ${LISTEN_WORDS}` })
    .describe(
      'Where clients connect. Elsewhere than on loopback needs `auth` or `tls`: whoever reaches the port owns the data.',
    )
    .prefault(['127.0.0.1:6379']),
  allowInsecure: flag()
    .describe('Listen beyond loopback without `auth` and `tls` all the same, where something else keeps strangers out.')
    .prefault(false),
  zone: text(NAME, NAME_WORDS)
    .describe('Zone in which this proxy runs, for `reads.from: zone`; best given by environment.')
    .optional(),
  workers: count(1, 64)
    .describe('Processes that share the port. More use more cores, and cost memory and connections to every node.')
    .prefault(1),
  hold: duration('0ms', '10m', '5s')
    .meta({
      description:
        'How long commands wait for a shard without a primary before they are refused with -CLUSTERDOWN. Longer than a failover takes, shorter than what clients wait.',
      live: true,
    })
    .prefault('5s'),
  timeout: duration('100ms', '10m', '10s')
    .meta({
      description:
        'A node that leaves a command unanswered for so long is taken for hung, and the connection to it is given up. Longer than the slowest command.',
      live: true,
    })
    .prefault('10s'),
  connect: duration('10ms', '1m', '2s')
    .meta({ description: 'Bound of connecting to a node, login included.', live: true })
    .prefault('2s'),
  grace: duration('0ms', '10m', '10s')
    .meta({
      description:
        'How long SIGTERM waits for what is in flight. Less than what kills the process otherwise (30 s in Kubernetes).',
      live: true,
    })
    .prefault('10s'),
  auth: auth
    .meta({ description: 'What clients must present by AUTH or HELLO. Without it: nothing.', live: true })
    .optional(),
  tls: serverTls.describe('TLS towards clients, on every TCP address. Without it: plain TCP.').optional(),
  limits: limits.describe("Bounds of what clients may use up. Redis's own where it has one.").prefault({}),
  transactions: choice(['refuse', 'split'])
    .meta({
      description:
        'MULTI over several shards: refuse it, or split it into one block per shard, for clients that use MULTI only to pipeline (it is not atomic then).',
      live: true,
    })
    .prefault('refuse'),
  deny: z
    .array(text(/^[A-Za-z][\w.-]*$/, 'the name of a command, such as KEYS'), expects('a list of command names'))
    .meta({ description: 'Commands that are answered with -DENIED.', values: 'a list of command names', live: true })
    .prefault([]),
  slowlog: slowlog.describe('What SLOWLOG GET answers.').prefault({}),
  admin: adminAddress
    .describe('Where /metrics, /healthz, /readyz and /status are served, read-only and without login; none: nowhere.')
    .prefault('127.0.0.1:9121'),
  state: file('a directory')
    .describe(
      'Directory in which the proxy remembers the last topology that it was told, so that it can start while no supervisor answers.',
    )
    .prefault('./state'),
});

const supervisor = section({
  listen: hostPort()
    .describe(
      'Where the topology feed, the API and the dashboard are served. Elsewhere than on loopback needs `auth.dashboard: token`.',
    )
    .prefault('127.0.0.1:7700'),
  allowInsecure: flag()
    .describe('Listen beyond loopback with an open dashboard all the same, where something else keeps strangers out.')
    .prefault(false),
  auth: section({
    dashboard: choice(['open', 'token'])
      .describe(
        'Who may read the status: anyone who reaches the port, or only who has the token that follows from the secret. The topology feed always wants the token.',
      )
      .prefault('open'),
  })
    .describe('Who may read what the supervisor knows.')
    .prefault({}),
  peers: z
    .array(text(/^http:\/\/[^\s/?#]+\/?$/, 'http://host:port'), expects('a list of http://host:port'))
    .min(1, expects('a list of at least one http://host:port'))
    .meta({ values: 'a list of http://host:port' })
    .describe('Where proxies look for a supervisor, in this order. By default `listen` of this file.')
    .optional(),
  store: section({
    file: file('a directory')
      .describe(
        'Directory that holds the topology, for a single supervisor (default: ./state). It is what decides who owns what: keep it.',
      )
      .optional(),
    etcd: section({
      endpoints: z
        .array(
          text(/^https?:\/\/[^\s/?#]+\/?$/, 'http://host:port or https://host:port'),
          expects('a list of http://host:port'),
        )
        .min(1, expects('a list of at least one http://host:port'))
        .meta({ values: 'a list of http://host:port' })
        .describe('Where etcd answers.'),
      prefix: text(/^\S+$/, 'a text without blanks')
        .describe('What every key of Ringside in etcd begins with; the name of the cluster follows.')
        .prefault('/ringside/'),
      username: text(/^\S+$/, 'a user name').describe('User of etcd, where it asks for one.').optional(),
      password: hiddenText(1, 'a password in quotes').describe('Its password.').optional(),
      tls: clientTls.describe('Certificates for https endpoints.').optional(),
    })
      .describe('Keep the topology in etcd, for several supervisors of which one leads.')
      .optional(),
  })
    .describe('Where the topology is kept: a directory, or etcd.')
    .prefault({}),
  detect: section({
    every: duration('10ms', '1m', '100ms')
      .describe('How often each node is probed. Shorter finds a lost node sooner and costs each node one command more.')
      .prefault('100ms'),
    crashed: duration('10ms', '1m', '200ms')
      .describe('A node whose connections are refused or reset for so long is replaced.')
      .prefault('200ms'),
    hung: duration('100ms', '10m', '1500ms')
      .describe('A node that is silent for so long is replaced. Longer than the slowest command.')
      .prefault('1500ms'),
  })
    .describe('How a lost node is found.')
    .prefault({}),
  rebuild: section({
    parallel: count(1, 64).describe('Copies that are rebuilt at the same time, over all shards.').prefault(1),
    maxLag: size('1kb', '64mb', '64kb')
      .describe('A copy that lags no more than this may join; writes are held for the little while that it takes.')
      .prefault('64kb'),
  })
    .describe('How lost copies are made anew.')
    .prefault({}),
  move: section({
    auto: flag()
      .describe(
        'Move keys as soon as the shards in this file have changed. Otherwise the change is shown as a plan, and waits for `ringside apply`.',
      )
      .prefault(false),
    keysPerSecond: count(1, 10_000_000).describe('At most so many keys are moved in a second.').prefault(20_000),
    addedLatency: duration('1ms', '10s', '5ms')
      .describe(
        'By how much the shard that keys are moved from may answer later meanwhile. Moving slows down to keep that.',
      )
      .prefault('5ms'),
    workPercent: count(1, 100)
      .describe(
        'For so many percent of the time, at most, nodes are busy with moving keys; the rest is for clients. More is quicker.',
      )
      .prefault(25),
    portionKeys: count(100, 100_000_000)
      .describe(
        'About so many keys are on the move at a time. More let more clients wait for a key and cost the target memory, fewer cost walks over all keys.',
      )
      .prefault(20_000),
    bigKey: size('1kb', '512mb', '1mb')
      .describe('A key that takes more memory than this is moved by itself, and named in the plan.')
      .prefault('1mb'),
    stall: duration('10ms', '10m', '100ms')
      .describe(
        'A key that would hold its shard up for longer than this is moved only after `ringside apply --allow-stalls`.',
      )
      .prefault('100ms'),
  })
    .meta({ description: 'How keys are moved when shards come, go or change their weight.', live: true })
    .prefault({}),
});

const LIST_OF_NODES = 'a list of { id, address, zone }';

/** One entry per top-level key; each is checked by itself, so that a mistake in one hides none in another. */
export const sections = {
  cluster: text(NAME, NAME_WORDS).describe('Name of the cluster. Proxies take no topology of another name.'),
  secret: hiddenText(16, 'at least 16 characters, such as the output of `openssl rand -hex 32`')
    .describe(
      'Seeds every credential between the parts; the same for all. Give it by environment, or use `secretFile`.',
    )
    .optional(),
  secretFile: file('a file with the secret')
    .describe('A file that holds the secret, instead of `secret`. A line break at its end does not count.')
    .optional(),
  nodes: z
    .array(node, expects(LIST_OF_NODES))
    .min(1, expects(LIST_OF_NODES))
    .meta({ values: LIST_OF_NODES, live: true })
    .describe('The stock Redis processes. Those in no shard are spares.'),
  nodeAccess: nodeAccess
    .describe('How a supervisor logs in to a node that it meets for the first time; it makes users of its own there.')
    .prefault({}),
  nodeSettings: z
    .record(
      text(/^[a-z][a-z0-9-]*$/, 'the name of a setting of redis.conf'),
      z.union([z.string(), z.number()], expects('text or a number')),
      expects('a map of redis.conf settings'),
    )
    .meta({ values: 'a map of redis.conf settings, such as { maxmemory-policy: noeviction }' })
    .describe('Settings that are put on every node, and again after each return.')
    .prefault({}),
  shards: z
    .union(
      [placedShards, z.array(namedShard).min(1, expects('a list of at least one shard'))],
      expects('a map with count and copies, or a list of shards'),
    )
    .meta({
      description:
        'How many shards of how many copies, to be placed over the zones; or a list that names each shard and its nodes. What moves keys is live with `ringside apply`, further copies at once.',
      live: true,
    })
    .prefault({}),
  ring: ring
    .meta({
      description: 'How a key finds its shard. Whatever changes here moves keys, by `ringside apply`.',
      live: true,
    })
    .prefault({}),
  writes: writes.describe('When a write counts as done.').prefault({}),
  reads: reads.describe('Where reads are answered.').prefault({}),
  rules: z
    .array(rule, expects('a list of { match, writes, reads }'))
    .meta({ values: 'a list of { match, writes, reads }', live: true })
    .describe('By key pattern, the first match wins: other `writes` and `reads` for some keys.')
    .prefault([]),
  proxy: proxy.describe('The sidecar beside each app.').prefault({}),
  supervisor: supervisor.describe('Watches the nodes and publishes who owns what.').prefault({}),
};

export const schema = z.strictObject(sections);

/** Settings as they were checked: defaults filled in, units resolved, not yet put together. */
export type Settings = z.output<typeof schema>;
