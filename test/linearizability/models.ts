/**
 * The objects whose histories are checked: one key of Redis that is used as a register or as a counter.
 */
import type { Model } from './history.ts';

export type RegisterInput =
  | { readonly kind: 'get' }
  | { readonly kind: 'set'; readonly value: string }
  | { readonly kind: 'delete' }
  /** Sets `to` where `from` stands (null: where nothing stands); answers whether it did. */
  | { readonly kind: 'compareAndSet'; readonly from: string | null; readonly to: string };

export type RegisterOutput =
  | { readonly kind: 'value'; readonly value: string | null }
  | { readonly kind: 'done' }
  | { readonly kind: 'swapped'; readonly swapped: boolean };

/** A value that is read, set, deleted, and swapped by compare-and-set; nothing stands there at first. */
export const registerModel: Model<string | null, RegisterInput, RegisterOutput> = {
  initial: null,
  step: (value, input, output) => {
    switch (input.kind) {
      case 'get':
        return output === null || (output.kind === 'value' && output.value === value) ? value : undefined;
      case 'set':
        return input.value;
      case 'delete':
        return null;
      case 'compareAndSet': {
        const swapped = value === input.from;
        if (output !== null && !(output.kind === 'swapped' && output.swapped === swapped)) return undefined;
        return swapped ? input.to : value;
      }
    }
  },
  nameOf: value => (value === null ? '-' : `=${value}`),
};

export type CounterInput = { readonly kind: 'get' } | { readonly kind: 'add'; readonly amount: number };

/** A number that begins at 0; `add` answers the sum, as INCRBY does. */
export const counterModel: Model<number, CounterInput, number> = {
  initial: 0,
  step: (value, input, output) => {
    const next = input.kind === 'add' ? value + input.amount : value;
    return output === null || output === next ? next : undefined;
  },
  nameOf: String,
};
