/** What every store of the topology has to keep, whatever it is made of. One run for each kind. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Leadership, StoreConflict, StoreError, type TopologyStore } from '../../src/topology/store.ts';
import { TopologyError } from '../../src/topology/validate.ts';
import { exampleTopology } from './example.ts';

/** One place where a topology is kept. */
export interface StorePlace {
  /** Opens it as another process would, for the cluster `shop`. `problems`: what `onProblem` was told. */
  open(problems?: (string | null)[]): Promise<TopologyStore>;
  /** Takes the leadership from whoever has it, while that one does not look: its process sleeps, its clock stands. */
  depose(): Promise<void>;
  /** What stands in it is no topology any more. */
  damage(): Promise<void>;
  remove(): Promise<void>;
}

const never = new AbortController().signal;
const URL_A = 'http://127.0.0.1:7101';
const URL_B = 'http://127.0.0.1:7102';

export function storeContract(kind: string, newPlace: () => Promise<StorePlace>): void {
  describe(`a topology in ${kind}`, () => {
    let place: StorePlace;
    let opened: TopologyStore[] = [];

    beforeEach(async () => {
      place = await newPlace();
      opened = [];
    });

    afterEach(async () => {
      for (const store of opened) await store.close();
      await place.remove();
    });

    async function open(problems?: (string | null)[]): Promise<TopologyStore> {
      const store = await place.open(problems);
      opened.push(store);
      return store;
    }

    async function lead(store: TopologyStore, url = URL_A): Promise<Leadership> {
      return store.campaign(url, never);
    }

    test('is nothing at first, then what a leader wrote, for the next process too', async () => {
      const store = await open();
      expect(await store.read()).toBeNull();
      const leadership = await lead(store);
      await leadership.write(exampleTopology(1), 0);
      await leadership.write(exampleTopology(2), 1);
      expect(await store.read()).toEqual(exampleTopology(2));
      await store.close();
      expect(await (await open()).read()).toEqual(exampleTopology(2));
    });

    test('changes only from the version that the writer knows', async () => {
      const store = await open();
      const first = await lead(store);
      await first.write(exampleTopology(1), 0);
      await expect(first.write(exampleTopology(1), 0)).rejects.toMatchObject({ name: 'StoreConflict', present: 1 });
      const second = await lead(store);
      await expect(second.write(exampleTopology(3), 1)).rejects.toBeInstanceOf(StoreConflict);
      expect((await store.read())?.version).toBe(1);
    });

    test('takes one of many writes of the same version, which ends the leadership', async () => {
      const store = await open();
      const leadership = await lead(store);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, () => leadership.write(exampleTopology(1), 0)),
      );
      expect(outcomes.filter(outcome => outcome.status === 'fulfilled').length).toBe(1);
      const reasons = outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [outcome.reason] : []));
      expect(reasons.every(reason => reason instanceof StoreError)).toBe(true);
      expect(leadership.lost.aborted).toBe(true);
    });

    test('never contradicts itself, and whoever tries goes on leading', async () => {
      const store = await open();
      const leadership = await lead(store);
      const wrong = { ...exampleTopology(1), nodes: exampleTopology(1).nodes.slice(1) };
      await expect(leadership.write(wrong, 0)).rejects.toBeInstanceOf(TopologyError);
      expect(await store.read()).toBeNull();
      await leadership.write(exampleTopology(1), 0);
    });

    test('is written by nobody whose leadership was given up', async () => {
      const store = await open();
      const leadership = await lead(store);
      expect(await store.leader()).toBe(URL_A);
      await leadership.resign();
      await leadership.resign();
      expect(leadership.lost.aborted).toBe(true);
      expect(leadership.lost.reason).toBeInstanceOf(StoreError);
      await expect(leadership.write(exampleTopology(1), 0)).rejects.toThrow(/term 1 is over: it was given up/);
      expect(await store.read()).toBeNull();
    });

    test('is written by nobody who was deposed unseen', async () => {
      const store = await open();
      const leadership = await lead(store);
      await leadership.write(exampleTopology(1), 0);
      await place.depose();
      expect(leadership.lost.aborted).toBe(false);
      await expect(leadership.write(exampleTopology(2), 1)).rejects.toBeInstanceOf(StoreError);
      expect(leadership.lost.aborted).toBe(true);
      expect((await store.read())?.version).toBe(1);
    });

    test('has terms that only rise: after giving up, after a restart, above what was met elsewhere', async () => {
      const store = await open();
      const terms: number[] = [];
      for (let time = 0; time < 3; time += 1) {
        const leadership = await lead(store);
        terms.push(leadership.term);
        await leadership.resign();
      }
      await store.close();
      // Nothing was ever written: the terms have a memory of their own.
      const again = await open();
      const fourth = await lead(again);
      terms.push(fourth.term);
      await fourth.resign();
      const above = await again.campaign(URL_A, never, 40);
      terms.push(above.term);
      await above.resign();
      terms.push((await lead(again)).term);
      expect(terms).toEqual([1, 2, 3, 4, 41, 42]);
    });

    test('gives a term above the one that stands in the document', async () => {
      const store = await open();
      const leadership = await store.campaign(URL_A, never, 9);
      await leadership.write({ ...exampleTopology(1), term: 10 }, 0);
      await store.close();
      expect((await lead(await open())).term).toBe(11);
    });

    test('is seen by who watches: what is there, and the last of every change', async () => {
      const store = await open();
      const leadership = await lead(store);
      await leadership.write(exampleTopology(1), 0);
      const seen: number[] = [];
      store.watch(topology => void seen.push(topology.version));
      await expect.poll(() => seen.at(-1)).toBe(1);
      for (let version = 2; version <= 12; version += 1) await leadership.write(exampleTopology(version), version - 1);
      await expect.poll(() => seen.at(-1)).toBe(12);
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
      await store.close();
    });

    test('of another cluster is told and never led', async () => {
      const store = await open();
      await (await lead(store)).write({ ...exampleTopology(1), cluster: 'other' }, 0);
      await store.close();
      const other = await open();
      await expect(other.read()).rejects.toThrow(/topology of cluster other, not shop: correct supervisor\.store\./);
      await expect(lead(other)).rejects.toBeInstanceOf(StoreError);
    });

    test('that is damaged is told, and neither led nor written over', async () => {
      const store = await open();
      await (await lead(store)).write(exampleTopology(1), 0);
      await store.close();
      await place.damage();
      const later = await open();
      await expect(later.read()).rejects.toThrow(
        /holds no usable topology .*put back.*start every proxy again without its last-topology\.json/,
      );
      await expect(lead(later)).rejects.toThrow(/holds no usable topology/);
      const problems: (string | null)[] = [];
      await later.close();
      const watcher = await open(problems);
      watcher.watch(() => expect.unreachable());
      await new Promise(resolve => setTimeout(resolve, 1500));
      expect(problems).toEqual([expect.stringMatching(/holds no usable topology/)]);
    });

    test('campaigns no more when it is told to give up', async () => {
      const store = await open();
      await expect(store.campaign(URL_B, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
      await lead(store);
    });

    test('is free for the next at once when it is closed, and closes twice', async () => {
      let store = await open();
      let leadership = await lead(store);
      // One of them may be slow, on a busy machine; who waited until a lease has run out would be so each time.
      const tookMs: number[] = [];
      for (let turn = 0; turn < 4; turn += 1) {
        await store.close();
        await store.close();
        expect(leadership.lost.aborted).toBe(true);
        await expect(leadership.write(exampleTopology(1), 0)).rejects.toBeInstanceOf(StoreError);
        const sinceMs = performance.now();
        store = await open();
        leadership = await lead(store, URL_B);
        tookMs.push(performance.now() - sinceMs);
      }
      expect(Math.min(...tookMs)).toBeLessThan(1000);
    });
  });
}
