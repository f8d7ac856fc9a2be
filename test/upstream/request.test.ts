import { setFlagsFromString } from 'node:v8';
import { describe, expect, it } from 'vitest';
import {
  abandonRequest,
  acquireRequest,
  Failure,
  type Origin,
  Request,
  releaseRequest,
} from '../../src/upstream/request.ts';
import { Sent } from './lane-stand.ts';

const origin: Origin = { lostMark: 0 };

/** Everything that may be read off a request, as one that was never used has it. */
function fieldsOf(request: Request): object {
  const { from: _from, to: _to, arrivedMs: _arrivedMs, isWrite: _isWrite, ...rest } = request;
  return rest;
}

function used(): Request {
  const sent = new Sent('GET k', [], () => {});
  const request = acquireRequest(sent, origin, true, 12.75);
  request.tag = 3;
  request.skip = 2;
  request.started = true;
  request.done = true;
  request.muted = true;
  request.segment = { buffer: Buffer.alloc(1), used: 1, flushed: 0, live: 1 };
  request.from = 5;
  request.to = 9;
  request.stashFrom = 1;
  request.stashTo = 2;
  request.parts = [Buffer.alloc(1)];
  request.confirmMs = 7;
  request.skipped = 1;
  request.lower = 8;
  request.number = 9;
  request.keptMs = 10;
  request.reply = { buffer: Buffer.alloc(1), used: 1, flushed: 0, live: 1 };
  request.replyFrom = 1;
  request.replyTo = 2;
  request.kept = [Buffer.alloc(1)];
  request.keptBytes = 1;
  return request;
}

describe('a request', () => {
  it('given back, keeps nothing of its last use', () => {
    const request = used();
    releaseRequest(request);
    expect(fieldsOf(request)).toEqual(fieldsOf(new Request()));
  });

  it('is used again', () => {
    const request = used();
    releaseRequest(request);
    expect(acquireRequest(new Sent('', [], () => {}), null, false, 1)).toBe(request);
  });

  it('abandoned, takes its reply or failure to nobody, and can be used again then', () => {
    for (const end of [
      (request: Request) => request.receiver.onReply(request, Buffer.from('+OK\r\n'), 0, 5, true),
      (request: Request) => request.receiver.onFailure(request, Failure.Down, 'gone'),
    ]) {
      const request = used();
      abandonRequest(request);
      request.receiver.onReply(request, Buffer.from('$9\r\n'), 0, 4, false);
      expect(request.origin).toBeNull();
      end(request);
      expect(acquireRequest(new Sent('', [], () => {}), null, false, 1)).toBe(request);
    }
  });

  it('keeps one shape for the engine through all of its uses', () => {
    setFlagsFromString('--allow-natives-syntax');
    const haveSameMap = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean;
    expect([haveSameMap({ a: 1 }, { a: 2 }), haveSameMap({ a: 1 }, { b: 1 })]).toEqual([true, false]);
    const first = used();
    const second = acquireRequest(new Sent('', [], () => {}), null, false, 0);
    releaseRequest(first);
    abandonRequest(second);
    const third = used();
    expect([haveSameMap(third, second), haveSameMap(third, new Request())]).toEqual([true, true]);
  });
});
