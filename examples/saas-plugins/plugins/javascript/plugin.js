// Every third tea is free.
export const pricing = {
  changes({ lines }) {
    return lines
      .filter(({ name, count }) => name === "tea" && count >= 3)
      .map(({ count, cents }) => ({ reason: "every third tea", cents: -Math.floor(count / 3) * cents }));
  },
};
