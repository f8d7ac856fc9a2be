import { passwordHash } from '../../../src/topology/credentials.ts';

/**
 * A node's users, as far as the rules of Ringside use them: passwords by hash, and which commands may be called.
 */
export class Users {
  readonly #users = new Map<string, User>();
  /** Answers of `may`, until some user is changed. */
  readonly #known = new Map<string, boolean>();

  constructor() {
    this.#users.set('default', { on: true, noPassword: true, hashes: new Set(), rights: ['+@all'] });
  }

  names(): string[] {
    return [...this.#users.keys()].sort();
  }

  has(name: string): boolean {
    return this.#users.has(name);
  }

  /** `ACL SETUSER`; the words of a user that exists are added to what it has. */
  set(name: string, words: readonly string[]): string | null {
    const user = this.#users.get(name) ?? {
      on: false,
      noPassword: false,
      hashes: new Set<string>(),
      rights: ['-@all'],
    };
    for (const word of words) {
      const trouble = applyWord(user, word);
      if (trouble !== null) return trouble;
    }
    this.#users.set(name, user);
    this.#known.clear();
    return null;
  }

  /** `ACL DELUSER`; the default user cannot be deleted. */
  delete(name: string): boolean {
    this.#known.clear();
    return name !== 'default' && this.#users.delete(name);
  }

  mayLogIn(name: string, password: string): boolean {
    const user = this.#users.get(name);
    if (user === undefined || !user.on) return false;
    return user.noPassword || user.hashes.has(passwordHash(password));
  }

  /** Whether a connection that has not logged in is the default user's. */
  get needsNoLogin(): boolean {
    const user = this.#users.get('default');
    return user?.on === true && user.noPassword;
  }

  may(name: string, command: string, subcommand: string): boolean {
    // Of most commands the second word is a key, which says nothing here.
    const key = SUBCOMMANDS.has(command) ? `${name} ${command} ${subcommand}` : `${name} ${command}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const may = this.#mayCall(name, command, subcommand);
    this.#known.set(key, may);
    return may;
  }

  #mayCall(name: string, command: string, subcommand: string): boolean {
    const user = this.#users.get(name);
    if (user === undefined) return false;
    let allowed = false;
    const full = `${command}|${subcommand}`.toLowerCase();
    const categories = categoriesOf(command, subcommand);
    for (const right of user.rights) {
      const what = right.slice(1).toLowerCase();
      const hit = what.startsWith('@') ? categories.includes(what) : what === command.toLowerCase() || what === full;
      if (hit) allowed = right.startsWith('+');
    }
    return allowed;
  }

  /** `ACL LIST`. */
  lines(): string[] {
    return this.names().map(name => {
      const user = this.#users.get(name) as User;
      const secrets = user.noPassword ? ['nopass'] : [...user.hashes];
      return ['user', name, user.on ? 'on' : 'off', ...secrets, '~*', '&*', ...user.rights].join(' ');
    });
  }

  /** `ACL GETUSER`: names and values in turn; null: no such user. */
  describe(name: string): (string | string[])[] | null {
    const user = this.#users.get(name);
    if (user === undefined) return null;
    const flags = [user.on ? 'on' : 'off', ...(user.noPassword ? ['nopass'] : [])];
    const passwords = [...user.hashes].map(hash => hash.slice(1));
    const commands = user.rights.join(' ');
    return [
      'flags',
      flags,
      'passwords',
      passwords,
      'commands',
      commands,
      'keys',
      '~*',
      'channels',
      '&*',
      'selectors',
      [],
    ];
  }
}

interface User {
  on: boolean;
  noPassword: boolean;
  readonly hashes: Set<string>;
  rights: string[];
}

function applyWord(user: User, word: string): string | null {
  if (word === 'on' || word === 'off') user.on = word === 'on';
  else if (word === 'nopass') user.noPassword = true;
  else if (word === 'reset' || word === 'resetpass') {
    user.noPassword = false;
    user.hashes.clear();
    if (word === 'reset') Object.assign(user, { on: false, rights: ['-@all'] });
  } else if (word.startsWith('#')) user.hashes.add(word);
  else if (word.startsWith('>')) user.hashes.add(passwordHash(word.slice(1)));
  else if (word === '+@all' || word === 'allcommands') user.rights = ['+@all'];
  else if (word === '-@all' || word === 'nocommands') user.rights = ['-@all'];
  else if (/^[+-]/.test(word)) user.rights = withRight(user.rights, word);
  else if (!/^([~&%]|allkeys|resetkeys|allchannels|resetchannels)/.test(word)) {
    return `ERR Error in ACL SETUSER modifier '${word}': Syntax error`;
  }
  return null;
}

/** Redis forgets what a later word makes void: `+psync` and then `-psync` leaves no trace where nothing else gave it. */
function withRight(rights: readonly string[], word: string): string[] {
  const others = rights.filter((right, index) => index === 0 || right.slice(1) !== word.slice(1));
  const [base] = others;
  const isVoid =
    !word.slice(1).startsWith('@') && base === '-@all' && word.startsWith('-') && others.length === rights.length - 1;
  return isVoid ? others : [...others, word];
}

const SUBCOMMANDS = new Set(['ACL', 'CLIENT', 'CONFIG', 'FUNCTION', 'SCRIPT', 'COMMAND', 'MODULE']);
const DANGEROUS =
  'ACL CONFIG CLIENT INFO REPLICAOF ROLE SHUTDOWN PSYNC SYNC REPLCONF DEBUG MODULE FLUSHALL FLUSHDB KEYS SAVE BGSAVE';
const ADMIN = 'ACL CONFIG CLIENT REPLICAOF ROLE SHUTDOWN PSYNC SYNC REPLCONF DEBUG MODULE SAVE BGSAVE';
/** Of `CLIENT` only these are harmless. */
const HARMLESS = ['ID', 'SETNAME', 'SETINFO', 'GETNAME', 'INFO'];

function categoriesOf(command: string, subcommand: string): string[] {
  const name = command.toUpperCase();
  if (name === 'CLIENT' && HARMLESS.includes(subcommand.toUpperCase())) return ['@all', '@connection'];
  const found = ['@all'];
  if (DANGEROUS.split(' ').includes(name)) found.push('@dangerous');
  if (ADMIN.split(' ').includes(name)) found.push('@admin');
  return found;
}
