/** A short line that says what was just done. Screen readers hear it. */

"use client";

import { createContext, type ReactNode, useCallback, useContext, useState } from "react";

import { Icon } from "./icons.tsx";

const Toasts = createContext<(text: string) => void>(() => undefined);

export const useToast = () => useContext(Toasts);

const SHOWN_MS = 4000;

export function ToastProvider({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<readonly { id: number; text: string }[]>([]);
  const show = useCallback((text: string) => {
    const id = performance.now();
    setShown((all) => [...all.slice(-2), { id, text }]);
    setTimeout(() => setShown((all) => all.filter((one) => one.id !== id)), SHOWN_MS);
  }, []);
  return (
    <Toasts value={show}>
      {children}
      <div aria-live="polite" className="toasts">
        {shown.map(({ id, text }) => (
          <div className="toast" key={id}>
            <Icon name="check" />
            {text}
          </div>
        ))}
      </div>
    </Toasts>
  );
}
