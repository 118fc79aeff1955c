// logit_loss
