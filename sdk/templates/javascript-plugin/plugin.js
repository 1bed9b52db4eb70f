// A plugin: it gives back a text, and asks for nothing but what its engine needs.
export const text = {
  transform: (given) => `plugged in: ${given}`,
};
