import { expect, test } from 'vitest';
import { passwordHash } from '../../src/topology/credentials.ts';
import { errorOf, infoField } from './client.ts';
import { type Nodes, realNodes, simulatedNodes } from './facts-stand.ts';

/**
 * Simulated nodes do what real ones do, in what the protocol relies on: each test tells what it saw of three nodes, and
 * both worlds must tell the same.
 */
const [A, B, C] = [0, 1, 2];

async function inBothWorlds(story: (nodes: Nodes) => Promise<unknown>): Promise<{ real: unknown; simulated: unknown }> {
  const real = await realNodes(3);
  try {
    return { real: await story(real), simulated: await story(simulatedNodes(3)) };
  } finally {
    await real.stop();
  }
}

const userOf = (node: number): string => `ringside-replica-${node}`;

async function letIn(nodes: Nodes, primary: number, replica: number): Promise<void> {
  const hash = passwordHash(`secret ${replica}`);
  const rights = ['+psync', '+replconf', '+ping'];
  await nodes.send(primary, 'ACL', 'SETUSER', userOf(replica), 'reset', 'on', hash, ...rights);
}

async function follow(nodes: Nodes, replica: number, primary: number): Promise<void> {
  await nodes.send(replica, 'CONFIG', 'SET', 'masteruser', userOf(replica), 'masterauth', `secret ${replica}`);
  await nodes.send(replica, 'REPLICAOF', ...nodes.address(primary));
}

async function info(nodes: Nodes, node: number, name: string): Promise<string> {
  return infoField(String(await nodes.send(node, 'INFO')), name);
}

const offsetOf = async (nodes: Nodes, node: number) => Number(await info(nodes, node, 'master_repl_offset'));

async function untilUp(nodes: Nodes, node: number, withinMs = 5000): Promise<boolean> {
  for (let waited = 0; waited < withinMs; waited += 25) {
    if ((await info(nodes, node, 'master_link_status')) === 'up') return true;
    await nodes.rest(25);
  }
  return false;
}

/** What stands at `k` once anything does. */
async function firstList(nodes: Nodes, node: number, withinMs = 5000): Promise<unknown> {
  let list: unknown = [];
  for (let waited = 0; waited < withinMs && String(list) === ''; waited += 25) {
    list = await nodes.send(node, 'LRANGE', 'k', '0', '-1');
    await nodes.rest(25);
  }
  return list;
}

async function linksOf(nodes: Nodes, node: number): Promise<string[]> {
  const list = String(await nodes.send(node, 'CLIENT', 'LIST'));
  const replicas = list.split('\n').filter(line => / flags=\w*S/.test(line));
  return replicas.map(line => / user=(\S*)/.exec(line)?.[1] ?? '').sort();
}

/** A with B and C attached, and one write on all. */
async function formed(nodes: Nodes): Promise<void> {
  for (const replica of [B, C]) {
    await letIn(nodes, A, replica);
    await follow(nodes, replica, A);
    await untilUp(nodes, replica);
  }
  await nodes.send(A, 'RPUSH', 'k', 'first');
  await nodes.send(A, 'WAIT', '2', '3000');
}

test.concurrent('a replica user is enough to replicate, and WAIT counts what is confirmed', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    const list = await nodes.send(B, 'LRANGE', 'k', '0', '-1');
    await nodes.send(A, 'RPUSH', 'k', 'second');
    const counted = await nodes.send(A, 'WAIT', '2', '3000');
    const tooMany = await nodes.send(A, 'WAIT', '3', '50');
    const sameId = (await info(nodes, A, 'master_replid')) === (await info(nodes, C, 'master_replid'));
    const refused = errorOf(await nodes.send(B, 'RPUSH', 'k', 'x'))?.slice(0, 8);
    return { list, counted, tooMany, sameId, refused, links: await linksOf(nodes, A) };
  });
  expect(simulated).toEqual(real);
  expect(real).toMatchObject({ list: ['first'], counted: 2, tooMany: 2, links: [userOf(B), userOf(C)] });
});

test.concurrent('a closed door leaves an open link alone and refuses a broken one, which comes back partially', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    await nodes.send(A, 'ACL', 'SETUSER', userOf(B), '-psync');
    const before = await linksOf(nodes, A);
    await nodes.send(A, 'RPUSH', 'k', 'behind the door');
    const counted = await nodes.send(A, 'WAIT', '2', '3000');
    await nodes.send(A, 'CLIENT', 'KILL', 'TYPE', 'replica', 'USER', userOf(B));
    await nodes.rest(1500);
    const whileClosed = { up: await info(nodes, B, 'master_link_status'), links: await linksOf(nodes, A) };
    await nodes.send(A, 'RPUSH', 'k', 'missed');
    const id = await info(nodes, B, 'master_replid');
    await nodes.send(A, 'ACL', 'SETUSER', userOf(B), '+psync');
    const cameBack = await untilUp(nodes, B);
    const list = await nodes.send(B, 'LRANGE', 'k', '0', '-1');
    return { before, counted, whileClosed, cameBack, list, sameId: id === (await info(nodes, B, 'master_replid')) };
  });
  expect(simulated).toEqual(real);
  expect(real).toMatchObject({ counted: 2, whileClosed: { up: 'down', links: [userOf(C)] }, cameBack: true });
});

test.concurrent('deleting a user closes its link at once, and its copy no longer counts', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    const gone = await nodes.send(A, 'ACL', 'DELUSER', userOf(B), 'ringside-nobody');
    await nodes.rest(10);
    await nodes.send(A, 'RPUSH', 'k', 'second');
    const counted = await nodes.send(A, 'WAIT', '2', '500');
    await nodes.rest(1300);
    return { gone, counted, up: await info(nodes, B, 'master_link_status'), links: await linksOf(nodes, A) };
  });
  expect(simulated).toEqual(real);
  expect(real).toEqual({ gone: 1, counted: 1, up: 'down', links: [userOf(C)] });
});

test.concurrent('a replica that is pointed at nobody stands still, is promoted, and the other goes on behind it', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    const history = await info(nodes, A, 'master_replid');
    for (const node of [B, C]) await nodes.send(node, 'REPLICAOF', '127.0.0.1', '1');
    const stands = await offsetOf(nodes, B);
    await nodes.send(A, 'RPUSH', 'k', 'lost');
    await nodes.rest(1200);
    const stood = (await offsetOf(nodes, B)) === stands;
    await letIn(nodes, B, C);
    await nodes.send(B, 'REPLICAOF', 'NO', 'ONE');
    const previous = (await info(nodes, B, 'master_replid2')) === history;
    const end = Number(await info(nodes, B, 'second_repl_offset')) - stands;
    await follow(nodes, C, B);
    const cameBack = await untilUp(nodes, C);
    const newId = await info(nodes, C, 'master_replid');
    await nodes.send(B, 'RPUSH', 'k', 'second');
    const counted = await nodes.send(B, 'WAIT', '1', '3000');
    const lists = [await nodes.send(B, 'LRANGE', 'k', '0', '-1'), await nodes.send(C, 'LRANGE', 'k', '0', '-1')];
    const sameId = newId === (await info(nodes, B, 'master_replid'));
    return { stood, previous, end, cameBack, sameId, counted, lists, role: await info(nodes, B, 'role') };
  });
  expect(simulated).toEqual(real);
  expect(real).toMatchObject({ stood: true, previous: true, end: 1, sameId: true, counted: 1 });
});

test.concurrent('an old primary that went on alone copies everything when it comes back, and loses what it had alone', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    await nodes.send(B, 'REPLICAOF', '127.0.0.1', '1');
    await nodes.send(A, 'RPUSH', 'k', 'alone');
    await nodes.send(
      A,
      'FUNCTION',
      'LOAD',
      'REPLACE',
      "#!lua name=alone\nredis.register_function('f', function() return 1 end)",
    );
    await nodes.send(B, 'REPLICAOF', 'NO', 'ONE');
    await letIn(nodes, B, A);
    await follow(nodes, A, B);
    const cameBack = await untilUp(nodes, A);
    const list = await nodes.send(A, 'LRANGE', 'k', '0', '-1');
    const libraries = await nodes.send(A, 'FUNCTION', 'LIST');
    const sameOffset = (await offsetOf(nodes, A)) === (await offsetOf(nodes, B));
    return { cameBack, list, libraries, sameOffset };
  });
  expect(simulated).toEqual(real);
  expect(real).toEqual({ cameBack: true, list: ['first'], libraries: [], sameOffset: true });
});

test.concurrent('a replica of a replica switches to the primary by partial resync and is counted only then', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await letIn(nodes, A, B);
    await follow(nodes, B, A);
    await untilUp(nodes, B);
    await letIn(nodes, B, C);
    await follow(nodes, C, B);
    await untilUp(nodes, C);
    await nodes.send(A, 'RPUSH', 'k', 'first');
    // A copy that has just arrived is counted once it has confirmed for the first time, up to a second later.
    await nodes.send(A, 'WAIT', '1', '3000');
    const behind = await nodes.send(A, 'WAIT', '2', '200');
    const list = await firstList(nodes, C);
    await letIn(nodes, A, C);
    await follow(nodes, C, A);
    const up = await untilUp(nodes, C);
    await nodes.send(A, 'RPUSH', 'k', 'second');
    return { behind, list, up, direct: await nodes.send(A, 'WAIT', '2', '3000'), links: await linksOf(nodes, B) };
  });
  expect(simulated).toEqual(real);
  expect(real).toMatchObject({ behind: 1, list: ['first'], direct: 2, links: [] });
});

test.concurrent('REPLICAOF to the address that is followed does nothing, and a refused login is tried again after a second', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await follow(nodes, B, A);
    await nodes.rest(300);
    const refused = await info(nodes, B, 'master_link_status');
    await letIn(nodes, A, B);
    await follow(nodes, B, A);
    await nodes.rest(100);
    const cameBack = await untilUp(nodes, B);
    return { refused, cameBack, offset: (await info(nodes, B, 'slave_repl_offset')) !== '' };
  });
  expect(simulated).toEqual(real);
});

test.concurrent('CLIENT PAUSE WRITE holds writes back and lets everything else pass', async () => {
  const { real, simulated } = await inBothWorlds(async nodes => {
    await formed(nodes);
    await nodes.send(A, 'CLIENT', 'PAUSE', '400', 'WRITE');
    const list = await nodes.send(A, 'LRANGE', 'k', '0', '-1');
    const users = await nodes.send(A, 'ACL', 'DELUSER', userOf(C));
    const length = await nodes.send(A, 'RPUSH', 'k', 'late');
    return { list, users, length };
  });
  expect(simulated).toEqual(real);
});
